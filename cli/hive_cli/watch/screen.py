"""The overview as lines that fit, and a terminal that shows them until `q` or Ctrl-C."""

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from hive_cli.output import bold, coloured, cut, dim, duration, printable, when
from hive_cli.watch.look import Look, doing

ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
HOME, CLEAR_LINE, CLEAR_REST = "\033[H", "\033[K", "\033[J"
SMALLEST: Final = 6
QUIT: Final = frozenset("qQ\x03\x04")


def overview(found: Look, *, width: int, height: int, note: str = "") -> list[str]:
    """At most `height` lines of at most `width` columns: what waits for you first, then agents, then messages."""
    lines = [_head(found, width), *_waiting(found, width), ""]
    agents = [_agent(agent) for agent in found.agents]
    lines += _table(("AGENT", "STATE", "SINCE", "UNREAD", "TODAY", "DETAIL"), agents, width)
    lines += [""]
    messages = [_message(message) for message in found.messages]
    lines += _table(("TIME", "FROM", "TO", "STATE", "MESSAGE"), messages, width)
    foot = dim(cut(note or "q leaves", width))
    return [*lines[: max(0, height - 1)], foot]


def _head(found: Look, width: int) -> str:
    status, agents = found.status, found.status["agents"]
    away = [one["service"] for one in status["services"] if not one["alive"]]
    words = f"up {duration(status['uptime_seconds'])}, {agents['running']} of {agents['total']} agents run, "
    words += f"{agents['thinking']} thinking"
    if away:
        words += f", away: {', '.join(away)}"
    if status["redis"]["status"] != "ok":
        words += f", redis: {status['redis']['status']}"
    return f"{bold('hyperhive')} {cut(words, width - 10)}"


def _waiting(found: Look, width: int) -> Iterator[str]:
    for question in found.questions:
        text = f"{question['asker']} asks: {_flat(question['question'])}  (hive answer {question['id']} …)"
        yield click.style(cut(text, width), fg="yellow")
    for approval in found.approvals:
        text = f"{approval['requester']} asks for {approval['agent']}: {_flat(approval['description'])}"
        yield click.style(cut(f"{text}  (hive approval {approval['id']})", width), fg="yellow")
    for warning in found.status.get("warnings", []):
        yield click.style(cut(_flat(warning), width), fg="red")


def _agent(agent: dict[str, Any]) -> tuple[str, ...]:
    state, since, detail = doing(agent)
    cost = (agent.get("state") or {}).get("cost_day_usd") or 0.0
    return agent["name"], state, when(since), str(agent["unread"]), f"${cost:.2f}" if cost else "", detail


def _message(message: dict[str, Any]) -> tuple[str, ...]:
    return when(message["sent_at"]), message["sender"], message["recipient"], message["state"], message["body"]


def _flat(text: str) -> str:
    return " ".join(printable(text).split())


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    flat = [[_flat(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *flat, strict=True)]
    room = width - sum(widths[:-1]) - 2 * (len(widths) - 1)
    widths[-1] = max(0, min(widths[-1], room))
    yield dim(cut("  ".join(text.ljust(size) for text, size in zip(headers, widths, strict=True)).rstrip(), width))
    for row in flat:
        cells = [cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)]
        plain = "  ".join(cells).rstrip()
        if len(plain) > width:
            yield cut(plain, width)
        else:
            yield "  ".join(coloured(cell.rstrip()) + cell[len(cell.rstrip()) :] for cell in cells).rstrip()


@contextmanager
def full_screen() -> Iterator["Screen"]:
    """The terminal as it was, afterwards, however the block ends."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    sys.stdout.write(ENTER)
    try:
        yield Screen()
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Screen:
    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = shutil.get_terminal_size()
        return found.columns, max(SMALLEST, found.lines)

    def show(self, lines: Sequence[str]) -> None:
        """In place of what is there. Without colours where the user wants none; click takes the movements for some."""
        plain = [click.unstyle(line) for line in lines] if os.environ.get("NO_COLOR") else lines
        sys.stdout.write(HOME + (CLEAR_LINE + "\n").join(plain) + CLEAR_LINE + CLEAR_REST)
        sys.stdout.flush()

    def is_left(self, seconds: float) -> bool:
        """Whether somebody wants to leave within so many seconds; returns early when a key is pressed."""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(ready) and (not (key := sys.stdin.read(1)) or key in QUIT)
