"""Directives: one a line in a message body, as in `!send bob hello`. Every other line is prose."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Send:
    to: str
    text: str


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Bash:
    command: str


@dataclass(frozen=True)
class Write:
    path: str
    text: str


@dataclass(frozen=True)
class Edit:
    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class UseTokens:
    input: int
    output: int


@dataclass(frozen=True)
class Fail:
    kind: str


@dataclass(frozen=True)
class Crash:
    pass


@dataclass(frozen=True)
class Hang:
    pass


@dataclass(frozen=True)
class Broken:
    """A directive that cannot be done: the engine says why and goes on."""

    line: str
    reason: str


Directive = Send | Call | Bash | Write | Edit | Say | Sleep | UseTokens | Fail | Crash | Hang | Broken

FAILURES: Final = ("rate_limited", "auth", "overloaded", "prompt_too_long", "error")

_LINE: Final = re.compile(r"!([a-z]+)(?:\s+(.*))?")


def directives(body: str) -> list[Directive]:
    """The directives of `body`, in order; empty when there are none."""
    found = (_directive(line.strip()) for line in body.splitlines())
    return [directive for directive in found if directive]


def _directive(line: str) -> Directive | None:
    match = _LINE.fullmatch(line)
    read = _READERS.get(match[1]) if match else None
    if match is None or read is None:
        return None
    try:
        return read((match[2] or "").strip())
    except ValueError as error:
        return Broken(line, str(error))


def _words(rest: str, count: int, usage: str) -> list[str]:
    parts = rest.split(maxsplit=count - 1)
    if len(parts) < count:
        raise ValueError(f"it takes {usage}")
    return parts


def _send(rest: str) -> Directive:
    to, text = _words(rest, 2, "TO TEXT")
    return Send(to, text)


def _call(rest: str) -> Directive:
    tool, _, text = rest.partition(" ")
    arguments = json.loads(text or "{}")
    if not tool or not isinstance(arguments, dict):
        raise ValueError("it takes TOOL and a JSON object")
    return Call(tool, arguments)


def _bash(rest: str) -> Directive:
    _words(rest, 1, "CMD")
    return Bash(rest)


def _write(rest: str) -> Directive:
    path, text = _words(rest, 2, "PATH TEXT")
    return Write(path, text)


def _edit(rest: str) -> Directive:
    path, change = _words(rest, 2, "PATH OLD => NEW")
    old, arrow, new = change.partition(" => ")
    if not arrow:
        raise ValueError("it takes PATH OLD => NEW")
    return Edit(path, old, new)


def _say(rest: str) -> Directive:
    _words(rest, 1, "TEXT")
    return Say(rest)


def _sleep(rest: str) -> Directive:
    seconds = float(rest)
    if not 0 <= seconds < 86_400:
        raise ValueError("it takes seconds, less than a day")
    return Sleep(seconds)


def _usage(rest: str) -> Directive:
    parts = _words(rest, 2, "IN OUT")
    return UseTokens(int(parts[0]), int(parts[1]))


def _fail(rest: str) -> Directive:
    if rest not in FAILURES:
        raise ValueError(f"it takes one of {', '.join(FAILURES)}")
    return Fail(rest)


_READERS: Final[dict[str, Callable[[str], Directive]]] = {
    "send": _send,
    "call": _call,
    "bash": _bash,
    "write": _write,
    "edit": _edit,
    "say": _say,
    "sleep": _sleep,
    "usage": _usage,
    "fail": _fail,
    "crash": lambda rest: Crash(),
    "hang": lambda rest: Hang(),
}
