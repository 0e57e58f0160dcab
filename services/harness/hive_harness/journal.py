"""The turn that ended well and is not yet acknowledged: what makes its end happen once, whenever the harness dies.

The end of a turn is told in two places, the live stream (the broker then records its messages as acked) and the inbox
(they are deleted), and no order of the two survives `kill -9` alone: told first, a restart would run messages again
that are on record as acked; deleted first, the record would say `in_turn` for ever. So the end is written down
before either, and a harness that finds it at its start tells both again instead of running the turn again. Both may be
repeated: the event has its id already, and acknowledging twice is harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from hive_contracts.envelope import Envelope
from hive_harness.files import read_json, write_json

NAME: Final = "ended-turn.json"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """`event` is the `turn.ended`, `entry_ids` are what it acknowledges."""

    event: Envelope
    entry_ids: Sequence[str]


class Journal:
    """Holds at most one ended turn."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME

    def write(self, ended: EndedTurn) -> None:
        document = {"event": ended.event.model_dump(mode="json"), "entry_ids": list(ended.entry_ids)}
        try:
            write_json(self._path, document)
        except OSError as error:
            log.warning("the end of a turn could not be written down", reason=str(error))

    def read(self) -> EndedTurn | None:
        found = read_json(self._path)
        try:
            return EndedTurn(Envelope.model_validate(found["event"]), [str(item) for item in found["entry_ids"]])
        except (KeyError, TypeError, ValidationError):
            return None

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)
