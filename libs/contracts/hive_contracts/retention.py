"""Retention: what a sweep of the supervisor removed from stores and streams, or would remove."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from hive_contracts.envelope import Payload


class SweepRetention(Payload):
    """To the supervisor: sweep now. `dry_run`: only tell what would go."""

    TYPE: ClassVar[str] = "retention.sweep"

    dry_run: bool = False


class Swept(BaseModel):
    """One store or stream. `error` is empty, or why it was not swept to the end; what was removed before stays so."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kept: int = 0
    removed: int = 0
    bytes_freed: int = 0
    error: str = ""


class RetentionSwept(Payload):
    """What a sweep removed. In `hive:events` without the stores and streams that it had nothing to do with."""

    TYPE: ClassVar[str] = "retention.swept"

    dry_run: bool = False
    at: datetime
    seconds: float
    removed: int
    bytes_freed: int
    errors: int
    stores: tuple[Swept, ...] = ()
    streams: tuple[Swept, ...] = ()
