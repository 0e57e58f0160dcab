"""The envelope around everything that crosses a stream, and the base of what it carries.

Words from CloudEvents. An event is a fact in the past tense; a command is addressed to one service and answered by
`correlation_id`. Evolution is additive: unknown fields are ignored, and an unknown type is never an error in a loop.
"""

import builtins
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hive_contracts.ids import new_id


class Payload(BaseModel):
    """What an envelope carries. `TYPE` is the wire name."""

    TYPE: ClassVar[str]

    model_config = ConfigDict(frozen=True, extra="ignore")


P = TypeVar("P", bound=Payload)

_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class MalformedEnvelope(ValueError):
    """The entry is not an envelope, or its data does not fit its type."""


class Envelope(BaseModel):
    """One stream entry. `time` is UTC; `hop` counts the messages that led to this one within `trace_id`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(default_factory=new_id, max_length=128)
    source: str = Field(max_length=64)
    type: str = Field(max_length=64)
    subject: str = ""
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    data: dict[str, Any] = Field(default_factory=dict)
    correlation_id: str = ""
    trace_id: str = ""
    hop: int = 0

    @classmethod
    def of(cls, payload: Payload, *, source: str, **fields: Any) -> Self:
        """An envelope around `payload`; further fields as keywords."""
        return cls(source=source, type=payload.TYPE, data=payload.model_dump(mode="json"), **fields)

    def encode(self) -> dict[str, str]:
        """The fields of a stream entry."""
        return {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "correlation_id": self.correlation_id,
            "trace_id": self.trace_id,
            "hop": str(self.hop),
            "data": _dump(self.data),
        }

    @classmethod
    def decode(cls, fields: Mapping[str, str]) -> Self:
        """Raises `MalformedEnvelope`."""
        try:
            return cls.model_validate(dict(fields) | {"data": _load(fields.get("data", "{}"))})
        except (ValidationError, ValueError, RecursionError) as error:
            raise MalformedEnvelope(str(error)) from error

    def payload(self, kind: builtins.type[P]) -> P:
        """The data as `kind`; what a newer part wrote besides is skipped at any depth. Raises `MalformedEnvelope`."""
        try:
            return kind.model_validate(self.data, extra="ignore")
        except ValidationError as error:
            raise MalformedEnvelope(f"{self.type}: {error}") from error


def _dump(data: Any) -> str:
    """As JSON that every store and connection takes: half of a character pair becomes `?`."""
    text = _JSON.encode(data)
    return text.encode("utf-8", "replace").decode()


def _load(text: str) -> Any:
    data = json.loads(text)
    if "\\ud" in text.lower():  # an escape may stand for half of a character pair, which nothing else would take
        return json.loads(_dump(data))
    return data
