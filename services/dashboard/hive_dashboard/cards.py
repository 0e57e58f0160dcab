"""What a tool call is drawn as: an edit of files as a diff, a shell command, or its input as it came.

Inputs were written by a container: what does not have its tool's shape is drawn as it came, and what that shape has no
place for stands beside it. Nothing is left out.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, Final

from hive_dashboard.diff import MAX_COMPARED, DiffFile, edit_of
from hive_dashboard.text import one_line

GIST_LENGTH: Final = 120

MAX_DRAWN_AT_ONCE: Final = 2_000
"""Characters of an edit that is drawn with its turn; a larger one is drawn when somebody opens it."""

_EXIT: Final = re.compile(r"\s*exit (?:code|status):? (-?\d{1,6})\b[ \t]*\n?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Edit:
    """Of a file, or of a part of it. Drawing takes time, so it waits until it is asked for."""

    path: str
    before: str
    after: str

    @property
    def size(self) -> int:
        return len(self.before) + len(self.after)

    @property
    def file(self) -> DiffFile:
        return _file_of(self)

    @property
    def added(self) -> int:
        return _counts(self)[0]

    @property
    def removed(self) -> int:
        return _counts(self)[1]


@dataclass(frozen=True, slots=True)
class Card:
    """`edits` or `command` are empty where it is none; `gist` is a line for the call's head; `rest` is what was given
    besides, as JSON."""

    gist: str = ""
    command: str = ""
    edits: tuple[Edit, ...] = ()
    rest: str = ""

    @property
    def is_large(self) -> bool:
        return sum(edit.size for edit in self.edits) > MAX_DRAWN_AT_ONCE

    @property
    def kind(self) -> str:
        return "command" if self.command else "edit" if self.edits else "other"


def card_of(tool: str, given: Mapping[str, Any]) -> Card:
    """For any tool and any input."""
    shaped = _SHAPES[tool](dict(given)) if tool in _SHAPES else None
    return shaped or Card(_gist(given), rest=pretty(given))


def exit_of(text: str, *, error: bool) -> tuple[str, str]:
    """The status that a failed command's result begins with, empty where it has none, and what follows it."""
    found = _EXIT.match(text) if error else None
    return (found[1], text[found.end() :]) if found else ("", text)


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _command(given: dict[str, Any]) -> Card | None:
    if not _texts(given, "command") or not given["command"]:
        return None
    command, about = given.pop("command"), ""
    if _texts(given, "description"):
        about = one_line(given.pop("description"), GIST_LENGTH)
    return Card(about, command=command, rest=_rest(given))


def _write(given: dict[str, Any]) -> Card | None:
    if not _texts(given, "file_path", "content"):
        return None
    edit = Edit(given.pop("file_path"), "", given.pop("content"))
    return Card(edits=(edit,), rest=_rest(given))


def _edit(given: dict[str, Any]) -> Card | None:
    if not _texts(given, "file_path", "old_string", "new_string"):
        return None
    edit = Edit(given.pop("file_path"), given.pop("old_string"), given.pop("new_string"))
    gist = "wherever it occurs" if given.get("replace_all") is True else ""
    if isinstance(given.get("replace_all"), bool):
        del given["replace_all"]
    return Card(gist, edits=(edit,), rest=_rest(given))


def _edits(given: dict[str, Any]) -> Card | None:
    edits = given.get("edits")
    if not _texts(given, "file_path") or not isinstance(edits, list) or not edits or not all(map(_is_edit, edits)):
        return None
    path = given.pop("file_path")
    del given["edits"]
    return Card(edits=tuple(Edit(path, one["old_string"], one["new_string"]) for one in edits), rest=_rest(given))


def _notebook(given: dict[str, Any]) -> Card | None:
    if not _texts(given, "notebook_path", "new_source"):
        return None
    edit = Edit(given.pop("notebook_path"), "", given.pop("new_source"))
    return Card(edits=(edit,), rest=_rest(given))


_SHAPES: Final[Mapping[str, Callable[[dict[str, Any]], Card | None]]] = {
    "Bash": _command,
    "Write": _write,
    "Edit": _edit,
    "MultiEdit": _edits,
    "NotebookEdit": _notebook,
}


def _texts(given: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(given.get(key), str) for key in keys)


def _is_edit(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"old_string", "new_string"} and _texts(value, *value)


@lru_cache(maxsize=256)
def _file_of(edit: Edit) -> DiffFile:
    return edit_of(edit.path, edit.before, edit.after)


@lru_cache(maxsize=1024)
def _counts(edit: Edit) -> tuple[int, int]:
    """Lines that came and lines that went."""
    old, new = (text.split("\n") if text else [] for text in (edit.before, edit.after))
    if max(len(old), len(new)) > MAX_COMPARED:
        return len(new), len(old)
    same = sum(block.size for block in SequenceMatcher(None, old, new).get_matching_blocks())
    return len(new) - same, len(old) - same


def _rest(rest: dict[str, Any]) -> str:
    return pretty(rest) if rest else ""


def _gist(values: Mapping[str, Any]) -> str:
    """An input in a line: its only text, else all of it."""
    texts = [value for value in values.values() if isinstance(value, str) and value]
    return one_line(texts[0] if len(texts) == 1 else ", ".join(f"{k}: {v}" for k, v in values.items()), GIST_LENGTH)
