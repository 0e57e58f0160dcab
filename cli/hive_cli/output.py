"""What the commands print: JSON, tables that fit the terminal, times, and one colour at most.

Colour follows click: none into a pipe, none with NO_COLOR.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from hive_cli.errors import UsageProblem

GAP: Final = "  "
MIN_LAST_COLUMN: Final = 12
MIN_COLUMN: Final = 6
WHOLE: Final = frozenset({"ID", "VERSION", "CHECK"})
"""Columns of what is typed again, to the letter."""

COLOURS: Final = {
    "ok": "green",
    "idle": "green",
    "running": "green",
    "acked": "green",
    "thinking": "cyan",
    "in_turn": "cyan",
    "answered": "green",
    "open": "yellow",
    "away": "red",
    "full": "red",
    "on": "yellow",
    "crashed": "red",
    "failed": "red",
    "dead": "red",
    "expired": "red",
    "needs_login": "yellow",
    "rate_limited": "yellow",
    "warning": "yellow",
    "lacks": "red",
    "wrong": "red",
    "note": "yellow",
}


def say(text: str = "") -> None:
    click.echo(text)


def say_under(label: str, text: str) -> None:
    """The text behind the label; on a terminal what is too wide for it goes on below, as far in."""
    indent = len(click.unstyle(label)) + 1
    width = shutil.get_terminal_size().columns - indent
    if not sys.stdout.isatty() or len(click.unstyle(text)) <= width or "\x1b" in text:
        say(f"{label} {text}")
        return
    first, *further = textwrap.wrap(text, max(MIN_LAST_COLUMN, width))
    say(f"{label} {first}")
    for more in further:
        say(" " * indent + more)


def complain(text: str) -> None:
    """To standard error, as the program's one sentence."""
    click.echo(f"hive: {text}", err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def coloured(word: str) -> str:
    colour = COLOURS.get(word)
    return click.style(word, fg=colour) if colour else word


def dim(text: str) -> str:
    return click.style(text, dim=True)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, wrap: bool = False) -> None:
    """The last column gives way when the terminal is too narrow, then the widest of the others; ids stay whole.

    Nothing is cut in a pipe. `wrap`: the last column goes on below instead of being cut, for what must be read whole.
    """
    flat = [[" ".join(printable(cell).split()) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(headers), *flat]) for column in range(len(headers))]
    if sys.stdout.isatty():
        widths = fitted(headers, widths, shutil.get_terminal_size().columns)
    say(dim(_line(headers, widths)))
    for row in flat:
        first, *further = textwrap.wrap(row[-1], max(1, widths[-1])) if wrap and row[-1] else [row[-1]]
        say(_line([*row[:-1], first], widths))
        for more in further:
            say(_line([*("" for _ in row[:-1]), more], widths))


def fitted(headers: Sequence[str], widths: Sequence[int], columns: int) -> list[int]:
    """The widths, made smaller where they do not fit. What cannot be fitted runs over."""
    found = list(widths)
    over = sum(found) + len(GAP) * (len(found) - 1) - columns
    found[-1] -= max(0, min(over, found[-1] - MIN_LAST_COLUMN))
    while sum(found) + len(GAP) * (len(found) - 1) > columns:
        others = [at for at, name in enumerate(headers[:-1]) if name not in WHOLE and found[at] > MIN_COLUMN]
        if not others:
            break
        found[max(others, key=lambda at: found[at])] -= 1
    return found


def print_more(found: Mapping[str, Any]) -> None:
    """Below a list of the API's that goes on."""
    if found.get("next"):
        say(dim("There are older ones: see --limit."))


def confirmed(question: str, unasked: str) -> None:
    """Asks for a yes. Raises `UsageProblem` without one, and where nobody can be asked; `unasked`: what --yes does."""
    if not (sys.stdin.isatty() and click.confirm(question, err=True)):
        raise UsageProblem(f"nothing was done; say --yes to {unasked} without being asked")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = [cut(cell, width) for cell, width in zip(cells, widths, strict=True)]
    padded = [coloured(cell) + " " * (width - len(cell)) for cell, width in zip(shown, widths, strict=True)]
    return GAP.join(padded).rstrip()


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def printable(text: str) -> str:
    """Without control characters: what agents write must not steer the operator's terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def why(state: dict[str, Any]) -> str:
    """What an agent's state adds to its name: until when it waits, and why, or what it does."""
    until = f"until {when(state['until'])}" if state["until"] else ""
    return "; ".join(part for part in (until, state["detail"]) if part)


def when(iso: str | None) -> str:
    """A UTC time as local clock time, with the date unless it is today's."""
    if not iso:
        return ""
    local = datetime.fromisoformat(iso).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def size(number: int) -> str:
    """Bytes for people, in steps of 1,000."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def counted(number: int, one: str, many: str = "") -> str:
    """`3 agents`, `1 agent`. `many`: where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
