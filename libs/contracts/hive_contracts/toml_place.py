"""Where in a TOML text a key is set, so that a complaint can name the line. (`tomllib` keeps no places.)"""

import re
from collections.abc import Sequence
from typing import Final

_PART: Final = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY: Final = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER: Final = re.compile(rf"\s*\[\[?\s*({_KEY})\s*\]")
_ASSIGNMENT: Final = re.compile(rf"\s*({_KEY})\s*=")


def line_of(text: str, keys: Sequence[object]) -> int:
    """The line, counted from 1, that sets `keys` or comes nearest to it; 1 when nothing does.

    `keys`: a path of tables and keys, as pydantic names it; an index of a list ends it.
    """
    wanted = _names(keys)
    table: list[str] = []
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            path = table
        elif assignment := _ASSIGNMENT.match(line):
            path = [*table, *_parts(assignment[1])]
        else:
            continue
        if len(path) > depth and path == wanted[: len(path)]:
            best, depth = number, len(path)
    return best


def _names(keys: Sequence[object]) -> list[str]:
    names: list[str] = []
    for key in keys:
        if not isinstance(key, str):
            break
        names.append(key)
    return names


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]
