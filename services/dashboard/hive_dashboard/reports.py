"""What the supervisor leaves or answers as JSON, read into its type. Raises `Unreadable` for what does not fit it."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from hive_contracts import streams
from hive_contracts.credentials import CredentialsRotated
from hive_contracts.retention import RetentionSwept
from hive_dashboard.errors import Unreadable
from hive_runtime.bus import Bus

M = TypeVar("M", bound=BaseModel)

VERSIONS: Final = "`hive status` says which versions of hyperhive run: bring all of them to the same one"


async def last_sweep(bus: Bus) -> RetentionSwept | None:
    return await _left(bus, streams.RETENTION, RetentionSwept, "the report of the last sweep", "sweep now")


async def last_rotation(bus: Bus) -> CredentialsRotated | None:
    again = "rotate the passwords once more"
    return await _left(bus, streams.CREDENTIALS, CredentialsRotated, "the report of the last rotation", again)


def answered(kind: type[M], result: Mapping[str, Any]) -> M:
    """What a command was answered with."""
    try:
        return kind.model_validate(result)
    except ValidationError as error:
        raise Unreadable(f"the answer of the other service cannot be read ({_first(error)}); {VERSIONS}") from error


async def _left(bus: Bus, key: str, kind: type[M], what: str, again: str) -> M | None:
    text = (await bus.hash_all(key)).get(streams.REPORT_FIELD)
    try:
        return kind.model_validate_json(text) if text else None
    except ValidationError as error:
        raise Unreadable(f"{what} cannot be read ({_first(error)}); {again}, and there is a new one") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
