"""A unified diff as lines to draw. Written by an agent: nothing of it is more than text."""

from dataclasses import dataclass
from enum import StrEnum


class LineKind(StrEnum):
    FILE = "file"
    HUNK = "hunk"
    ADDED = "added"
    REMOVED = "removed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class DiffFile:
    """`path` as git names it."""

    path: str
    lines: tuple[DiffLine, ...]

    @property
    def added(self) -> int:
        return sum(line.kind is LineKind.ADDED for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.kind is LineKind.REMOVED for line in self.lines)


def files_of(diff: str) -> list[DiffFile]:
    """The files of a unified diff of git's, in its order."""
    files: list[tuple[str, list[DiffLine]]] = []
    in_hunk = False
    for line in diff.splitlines():
        if line.startswith("diff --git "):
            files.append((line.rpartition(" b/")[2] or line, []))
            in_hunk = False
        elif files:
            in_hunk = in_hunk or line.startswith("@@")
            if in_hunk or not line.startswith(("index ", "--- ", "+++ ")):
                files[-1][1].append(_drawn(line, in_hunk=in_hunk))
    return [DiffFile(path, tuple(lines)) for path, lines in files]


def _drawn(line: str, *, in_hunk: bool) -> DiffLine:
    if not in_hunk:  # what git says of the file before its first hunk
        return DiffLine(LineKind.FILE, line)
    if line.startswith("@@"):
        return DiffLine(LineKind.HUNK, line)
    kind = {"+": LineKind.ADDED, "-": LineKind.REMOVED}.get(line[:1], LineKind.SAME)
    return DiffLine(kind, line[1:])
