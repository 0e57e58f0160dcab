"""The clocks and limits of a turn: what ends one that does not end by itself."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hive_contracts.agents import TurnOutcome
from hive_harness.outcome import context_of, usage_of
from hive_harness.turn import Stop, Turn

MARGIN_S: Final = 15.0
"""What a tool that limits itself may take beyond its own limit."""

MAX_DECLARED_S: Final = 3600.0
"""A command may declare no longer than this."""

MAX_TITLE: Final = 160
IDLE_LOOK_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Seconds and numbers. `silence_s`: without an event from the engine, no tool running; 0 tokens: no limit."""

    turn_s: float
    silence_s: float
    tool_s: float
    tool_calls: int
    tokens: int


class Watch:
    """Is told of every event of the engine by `see`; `verdict` returns when the turn is to be ended.

    Deadlines are in the turn's own time, which stands still while it is excused.
    """

    def __init__(self, turn: Turn, limits: TurnLimits, in_hand: Callable[[str], None]) -> None:
        self._turn = turn
        self._limits = limits
        self._in_hand = in_hand
        self._began = self._last_event = turn.clock()
        self._open: dict[str, tuple[str, float]] = {}
        self._calls = 0
        self._tokens = 0
        self._counted = ""

    def see(self, event: dict[str, Any]) -> None:
        self._last_event = self._turn.clock()
        message = event.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict):
                self._see_block(block)
        if event.get("type") == "assistant" and isinstance(message, dict):
            self._count_tokens(message)
        self._turn.news.set()

    async def verdict(self) -> Stop:
        while True:
            left_s, stop = min(self._ends(), key=_left)
            if left_s <= 0:
                return stop
            self._turn.news.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._turn.news.wait()
            except TimeoutError:
                continue

    def _ends(self) -> Iterator[tuple[float, Stop]]:
        """What may end the turn, and in how many seconds."""
        limits, turn, now = self._limits, self._turn, self._turn.clock()
        if turn.stop:
            yield (turn.stop_by - _now() if self._open else 0.0), turn.stop
        if self._calls > limits.tool_calls:
            yield 0.0, _over(f"{limits.tool_calls} tool calls")
        if limits.tokens and self._tokens > limits.tokens:
            yield 0.0, _over(f"{limits.tokens} tokens")
        if turn.is_excused:
            yield IDLE_LOOK_S, _over("no limit")
            return
        yield self._began + limits.turn_s - now, _over(f"{limits.turn_s:g} s")
        for title, by in self._open.values():
            yield by - now, Stop(TurnOutcome.TOOL_STALLED, f"{title} did not come back in time")
        if not self._open:
            reason = f"the engine said nothing for {limits.silence_s:g} s"
            yield self._last_event + limits.silence_s - now, Stop(TurnOutcome.ENGINE_HUNG, reason, gently=False)

    def _see_block(self, block: dict[str, Any]) -> None:
        match block:
            case {"type": "tool_use", "id": str(call_id), "name": str(name)}:
                arguments = block.get("input")
                arguments = arguments if isinstance(arguments, dict) else {}
                self._calls += 1
                title = title_of(name, arguments)
                self._open[call_id] = (title, self._turn.clock() + allowed_s(name, arguments, self._limits.tool_s))
                self._in_hand(title)
            case {"type": "tool_result", "tool_use_id": str(call_id)}:
                self._open.pop(call_id, None)
                self._in_hand(next((title for title, _ in self._open.values()), ""))

    def _count_tokens(self, message: dict[str, Any]) -> None:
        """An engine gives one event for each block of an answer, all with the usage of the whole."""
        identity = str(message.get("id", ""))
        if identity and identity == self._counted:
            return
        self._counted = identity
        usage = usage_of(message.get("usage"), context=0)
        self._tokens += context_of(usage) + usage.output


def allowed_s(name: str, arguments: dict[str, Any], usual_s: float) -> float:
    """How long a call may take. One that declares its own limit, as Bash's `timeout` or `wait_seconds`, is trusted with
    it."""
    declared_s = 0.0
    if name == "Bash":
        declared_s = _seconds(arguments.get("timeout")) / 1000
    elif name.startswith("mcp__"):
        declared_s = _seconds(arguments.get("wait_seconds"))
    return max(usual_s, min(declared_s, MAX_DECLARED_S) + MARGIN_S if declared_s else 0.0)


def title_of(name: str, arguments: dict[str, Any]) -> str:
    """A tool call in a line."""
    gist = next((str(value) for value in arguments.values() if isinstance(value, str) and value), "")
    title = name.removeprefix("mcp__").replace("__", " › ")
    line = f"{title}: {' '.join(gist.split())}" if gist else title
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - 1] + "…"


def _over(limit: str) -> Stop:
    return Stop(TurnOutcome.FAILED, f"the turn reached its limit of {limit}")


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9 else 0.0


def _left(end: tuple[float, Stop]) -> float:
    return end[0]


def _now() -> float:
    return asyncio.get_running_loop().time()
