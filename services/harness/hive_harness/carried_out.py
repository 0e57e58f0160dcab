"""Which commands were carried out, with their answers: kept over restarts, so that none is carried out twice.

The file lies in the agent's state directory. Where an engine runs as the harness's user it can be changed by it; then a
command may be done twice or be answered untruly, which is no more than such an engine can do by itself.
"""

from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from hive_contracts.agents import CommandDone, CommandFailed
from hive_harness.files import read_json, write_json

KEPT: Final = 64
"""More than can be on their way at once."""

Answer = CommandDone | CommandFailed

_KINDS: Final[dict[str, type[CommandDone] | type[CommandFailed]]] = {
    kind.TYPE: kind for kind in (CommandDone, CommandFailed)
}

log = structlog.get_logger()


class CarriedOut:
    """`<state>/commands.json`: command id → its answer, the newest `KEPT`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "commands.json"
        self._answers = {command_id: answer for command_id, answer in _read(self._path).items() if answer}

    def answer_to(self, command_id: str) -> Answer | None:
        """None for a command that was not carried out."""
        return self._answers.get(command_id)

    def keep(self, command_id: str, answer: Answer) -> None:
        self._answers[command_id] = answer
        for oldest in list(self._answers)[:-KEPT]:
            del self._answers[oldest]
        document = {
            key: {"type": kept.TYPE, "data": kept.model_dump(mode="json")} for key, kept in self._answers.items()
        }
        try:
            write_json(self._path, document)
        except OSError as error:
            log.warning("a command's answer could not be written down", reason=str(error))


def _read(path: Path) -> dict[str, Answer | None]:
    return {command_id: _answer(found) for command_id, found in read_json(path).items()}


def _answer(found: object) -> Answer | None:
    try:
        kind = _KINDS[found["type"]]  # type: ignore[index]
        return kind.model_validate(found["data"])  # type: ignore[index]
    except (KeyError, TypeError, ValidationError):
        return None
