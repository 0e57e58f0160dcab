"""Rotating the passwords of the Redis users while the hive runs."""

from datetime import datetime
from typing import ClassVar

from hive_contracts.envelope import Payload


class RotateCredentials(Payload):
    """To the supervisor. `names`: agents, and services by their Redis user; empty means everyone."""

    TYPE: ClassVar[str] = "credentials.rotate"

    names: tuple[str, ...] = ()


class CredentialsRotated(Payload):
    """How far a rotation is, by Redis user; in `hive:events` when it is done. `command`: the id of what asked."""

    TYPE: ClassVar[str] = "credentials.rotated"

    command: str
    at: datetime
    ended_at: datetime | None = None
    waiting: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    cut_short: tuple[str, ...] = ()
