"""Diffs as lines to draw: git's for an approval, an edit's for a turn. Agents write them: nothing is more than text.

A line ends at a line feed and nowhere else, and a file's name is read where git wrote it: neither a strange line
separator nor a strange name can draw a line, a file or a change that is not there.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from hive_dashboard.changed_words import Range, changed_words, paired
from hive_dashboard.syntax import Stretch, coloured
from hive_dashboard.text import clean

FOLD_LINES: Final = 200
"""A file with more lines comes folded."""

MAX_DRAWN: Final = 2_000
"""Lines of all files together; files beyond are named and drawn alone when asked for."""

MAX_MARKED: Final = 600
"""Lines of all files together, up to which changed words are marked: it takes a while."""

MAX_COMPARED: Final = 2_000
"""Lines of an edit; a longer one is drawn as all gone and all new."""

CONTEXT_LINES: Final = 3

_HUNK: Final = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_ESCAPED: Final = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "r": "\r", "v": "\v"}
_IN_LINE: Final = {0x0D: "\u240d", 0x2028: "‹U+2028›", 0x2029: "‹U+2029›"}


class LineKind(StrEnum):
    """`FILE`: what git says of a file as a whole. `NOTE`: of a line, as that it has no end."""

    FILE = "file"
    HUNK = "hunk"
    ADDED = "added"
    REMOVED = "removed"
    SAME = "same"
    NOTE = "note"


class Piece(NamedTuple):
    """Of a line: `css` are its classes in diff.css, empty for plain text."""

    text: str
    css: str = ""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """`old` and `new` are its numbers before and after, where it has any."""

    kind: LineKind
    text: str
    old: int | None = None
    new: int | None = None
    pieces: tuple[Piece, ...] = ()

    @property
    def numbers(self) -> str:
        return f"{self.old or '':>4} {self.new or '':>4}"


@dataclass(frozen=True, slots=True)
class DiffFile:
    """`was` is its former name, if it had another. `status`: what happened to it besides changing; mostly empty.

    `drawn` is False for one that the page has no room for: it is drawn alone.
    """

    path: str
    lines: tuple[DiffLine, ...]
    was: str = ""
    status: str = ""
    drawn: bool = True

    @property
    def added(self) -> int:
        return sum(line.kind is LineKind.ADDED for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.kind is LineKind.REMOVED for line in self.lines)

    @property
    def is_long(self) -> bool:
        return len(self.lines) > FOLD_LINES


def files_of(diff: str, *, only: str = "") -> list[DiffFile]:
    """The files of a unified diff of git's, in its order, as many drawn as a page has room for.

    `only`: just the one of this name, drawn however long it is.
    """
    files = [file for file in _parsed(diff) if not only or file.path == only]
    marks = sum(len(file.lines) for file in files) <= MAX_MARKED
    room = MAX_DRAWN
    found = []
    for file in files:
        room -= len(file.lines)
        found.append(_drawn(file, marks=marks) if only or room >= 0 else replace(file, drawn=False))
    return found


def edit_of(path: str, before: str, after: str) -> DiffFile:
    """What an edit did to a part of a file, whose place in it is not known: its lines have no numbers.

    A new file is an edit of nothing.
    """
    old, new = before.split("\n"), after.split("\n")
    if not before:
        old = []
    if not after:
        new = []
    if max(len(old), len(new)) > MAX_COMPARED:
        changed = [f"-{line}" for line in old] + [f"+{line}" for line in new]
    else:
        changed = list(unified_diff(old, new, lineterm="", n=CONTEXT_LINES))[2:]
    body = [line for line in changed if not line.startswith("@@")]
    return _drawn(DiffFile(_shown(path), tuple(_line(line) for line in body)), marks=len(body) <= MAX_MARKED)


def text_of(path: str, text: str) -> DiffFile:
    """A file as it is, with numbers and colours."""
    lines = text.removesuffix("\n").split("\n") if text else []
    same = (DiffLine(LineKind.SAME, _shown(line), number, number) for number, line in enumerate(lines, 1))
    return _drawn(DiffFile(_shown(path), tuple(same)), marks=False)


def _parsed(diff: str) -> Iterator[DiffFile]:
    file: DiffFile | None = None
    lines: list[DiffLine] = []
    old = new = 0
    in_hunk = False
    for text in diff.removesuffix("\n").split("\n"):
        if text.startswith("diff --git "):
            if file:
                yield replace(file, lines=tuple(lines))
            file, lines, in_hunk = DiffFile(_path_of(text), ()), [], False
        elif file is None:
            continue
        elif hunk := _HUNK.match(text):
            old, new, in_hunk = int(hunk[1]), int(hunk[2]), True
            lines.append(DiffLine(LineKind.HUNK, _shown(text)))
        elif in_hunk:
            line = _line(text)
            was, is_ = line.kind in _OLD, line.kind in _NEW
            lines.append(replace(line, old=old if was else None, new=new if is_ else None))
            old, new = old + was, new + is_
        else:
            file = _told(file, text)
            if not text.startswith(("index ", "--- ", "+++ ", *_STATUS, "rename ", "similarity ")):
                lines.append(DiffLine(LineKind.FILE, _shown(text)))
    if file:
        yield replace(file, lines=tuple(lines))


_OLD: Final = (LineKind.SAME, LineKind.REMOVED)
_NEW: Final = (LineKind.SAME, LineKind.ADDED)
_KINDS: Final = {"+": LineKind.ADDED, "-": LineKind.REMOVED, " ": LineKind.SAME}
_STATUS: Final = {"new file mode": "new", "deleted file mode": "deleted", "Binary files ": "binary"}


def _line(text: str) -> DiffLine:
    kind = _KINDS.get(text[:1], LineKind.NOTE)
    return DiffLine(kind, _shown(text if kind is LineKind.NOTE else text[1:]))


def _told(file: DiffFile, text: str) -> DiffFile:
    """`file` with what a line before its first hunk says of it."""
    for beginning, status in _STATUS.items():
        if text.startswith(beginning):
            return replace(file, status=f"{file.status}, {status}" if file.status else status)
    if text.startswith("rename from "):
        return replace(file, was=_shown(_unquoted(text.removeprefix("rename from "))), status="renamed")
    if text.startswith("rename to "):
        return replace(file, path=_shown(_unquoted(text.removeprefix("rename to "))))
    return file


def _path_of(header: str) -> str:
    """From `diff --git a/PATH b/PATH`: both halves are the same, unless it was renamed, which other lines tell."""
    names = header.removeprefix("diff --git ")
    half = names[len(names) // 2 + 1 :]
    return _shown(_unquoted(half).removeprefix("b/"))


def _unquoted(name: str) -> str:
    """Git quotes names that are not plain ASCII, as in C."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    octets = _ESCAPED.sub(lambda found: _octet(found[1]), name[1:-1])
    return octets.encode("latin-1", "replace").decode(errors="replace")


def _octet(escape: str) -> str:
    return chr(int(escape, 8) & 0xFF) if escape.isdigit() else _ESCAPES.get(escape, escape)


def _shown(text: str) -> str:
    """One line of text, with nothing in it that a browser would obey or break."""
    return clean(text.translate(_IN_LINE))


def _drawn(file: DiffFile, *, marks: bool) -> DiffFile:
    """With the pieces that its lines are drawn from."""
    styles = _styles(file)
    changes = _changes(file.lines) if marks else {}
    drawn = (
        replace(line, pieces=tuple(_pieces(line.text, styles.get(at, ()), changes.get(at, ()))))
        for at, line in enumerate(file.lines)
    )
    return replace(file, lines=tuple(drawn))


def _styles(file: DiffFile) -> dict[int, list[Stretch]]:
    """By the line's place in the file. What was and what is are two texts, each coloured as one."""
    found: dict[int, list[Stretch]] = {}
    for path, kinds in ((file.was or file.path, _OLD), (file.path, _NEW)):
        side = [at for at, line in enumerate(file.lines) if line.kind in kinds]
        found |= dict(zip(side, coloured(path, [file.lines[at].text for at in side]), strict=True))
    return found


def _changes(lines: Sequence[DiffLine]) -> dict[int, list[Range]]:
    """By the line's place: of a run of removed lines and the run of added ones after it."""
    found: dict[int, list[Range]] = {}
    for removed, added in _runs(lines):
        pairs = paired([lines[at].text for at in removed], [lines[at].text for at in added])
        for old, new in ((removed[before], added[after]) for before, after in pairs):
            found[old], found[new] = changed_words(lines[old].text, lines[new].text)
    return found


def _runs(lines: Sequence[DiffLine]) -> Iterator[tuple[list[int], list[int]]]:
    removed: list[int] = []
    added: list[int] = []
    for at, line in enumerate(lines):
        if line.kind is LineKind.ADDED:
            added.append(at)
        elif line.kind is LineKind.REMOVED and not added:
            removed.append(at)
        else:
            if removed and added:
                yield removed, added
            removed, added = ([at] if line.kind is LineKind.REMOVED else []), []
    if removed and added:
        yield removed, added


def _pieces(text: str, styles: Sequence[Stretch], changes: Sequence[Range]) -> Iterator[Piece]:
    """`text` cut wherever a colour or a change begins or ends."""
    starts = (0, *(one.start for one in styles), *(one.start for one in changes))
    ends = (len(text), *(one.end for one in styles), *(one.end for one in changes))
    edges = sorted({*starts, *ends})
    style_at = change_at = 0
    for start, end in pairwise(edges):
        style_at = _past(styles, style_at, start)
        change_at = _past(changes, change_at, start)
        covered = styles[style_at : style_at + 1]
        css = f"syn-{covered[0].style}" if covered and covered[0].start <= start else ""
        changed = any(one.start <= start for one in changes[change_at : change_at + 1])
        yield Piece(text[start:end], f"{css} diff-word".strip() if changed else css)


def _past(ranges: Sequence[Stretch] | Sequence[Range], at: int, start: int) -> int:
    """The place of the first range that does not end before `start`, from the place `at` on."""
    while at < len(ranges) and ranges[at].end <= start:
        at += 1
    return at
