"""Runs turns on an engine: keeps it warm, feeds it prompts, publishes what it says, and tells how a turn ended."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hive_contracts.agents import TurnOutcome
from hive_contracts.turns import TurnNote, TurnStderr
from hive_harness.engine import Attachment, EngineKind, EngineProcess, decode_event
from hive_harness.errors import EngineMissing
from hive_harness.live import LivePublisher, bounded
from hive_harness.mcp import SERVER_NAME
from hive_harness.outcome import context_of, ending_of, total_cost, usage_of
from hive_harness.session import SessionStore
from hive_harness.translate import Translated, raw_line, translate
from hive_harness.turn import CurrentTurn, Ending, Turn

RESUMES: Final = 3
"""An engine that ends this often in a row before it says anything is not given its old session again."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Warm:
    """A running engine and what it has told so far."""

    process: EngineProcess
    pump: asyncio.Task[None]
    resumed: str | None
    greeted: bool = False
    mcp_status: str = "connected"
    cost_usd: float = 0.0
    context: int = 0
    error: str | None = None


class EngineRunner:
    """One turn at a time. The engine's output is moved by tasks of `group`."""

    def __init__(  # noqa: PLR0913 - it joins the engine to everything else
        self,
        kind: EngineKind,
        attach: Callable[[str | None], Attachment],
        *,
        session: SessionStore,
        current: CurrentTurn,
        live: LivePublisher,
        group: asyncio.TaskGroup,
        limit_s: float,
    ) -> None:
        self._kind = kind
        self._attach = attach
        self._session = session
        self._current = current
        self._live = live
        self._group = group
        self._limit_s = limit_s
        self._warm: _Warm | None = None
        self._silent_ends = 0

    @property
    def pid(self) -> int | None:
        """The warm engine's."""
        return self._warm.process.pid if self._warm else None

    async def run(self, turn: Turn, texts: Sequence[str]) -> Ending:
        """Run `turn` with a prompt of `texts`, the message that began it last.

        An engine whose turn did not end well is closed.
        """
        try:
            async with asyncio.timeout(self._limit_s) as limit:
                ending = await self._converse(turn, texts)
        except TimeoutError:
            if not limit.expired():
                raise
            ending = Ending(TurnOutcome.ENGINE_HUNG, f"the turn did not end within {self._limit_s:g} s")
        except EngineMissing as error:
            ending = Ending(TurnOutcome.ENGINE_CRASHED, str(error))
        if ending.outcome is not TurnOutcome.OK:
            await self.close(working=ending.outcome is TurnOutcome.ENGINE_HUNG)
        return ending

    async def close(self, **how: Any) -> None:
        """End the engine, as `EngineProcess.close` does. The next turn starts a new one.

        Cut off by a cancellation, it may be called again.
        """
        if (warm := self._warm) is None:
            return
        await warm.process.close(**how)
        warm.pump.cancel()
        if self._warm is warm:
            self._warm = None

    async def _converse(self, turn: Turn, texts: Sequence[str]) -> Ending:
        warm = await self._ready(turn)
        await warm.process.say(texts)
        result = await self._until_result(turn, warm)
        if result and warm.resumed and not warm.greeted and result.get("is_error") is True:
            return await self._start_over(turn, texts, "the session is gone")
        if result is None and warm.resumed and not warm.greeted:
            self._silent_ends += 1
            if self._silent_ends >= RESUMES:
                return await self._start_over(turn, texts, f"the engine ended {RESUMES} times on it")
        if result is None:
            reason = await warm.process.exit_reason()
            return Ending(TurnOutcome.ENGINE_CRASHED, f"the engine ended in the middle of the turn: {reason}")
        return self._ending(warm, result)

    def _ending(self, warm: _Warm, result: dict[str, Any]) -> Ending:
        ending = ending_of(result, assistant_error=warm.error, context=warm.context, cost_before=warm.cost_usd)
        warm.cost_usd = max(warm.cost_usd, total_cost(result))
        if ending.outcome is TurnOutcome.OK and ending.session_id:
            self._session.keep(ending.session_id)
        return ending

    async def _start_over(self, turn: Turn, texts: Sequence[str], reason: str) -> Ending:
        turn.emit(TurnNote, text=f"session {self._session.id} cannot be resumed ({reason}); a new one begins")
        log.warning("session cannot be resumed", session=self._session.id, reason=reason)
        self._silent_ends = 0
        self._session.forget()
        await self.close()
        return await self._converse(turn, texts)

    async def _ready(self, turn: Turn) -> _Warm:
        """The warm engine, or a new one."""
        if self._warm and self._warm.process.ended:
            await self.close()
        if self._warm:
            for line in self._warm.process.leftovers():
                log.info("engine spoke between turns", line=line[:200])
            self._warm.error = None
            return self._warm
        self._warm = await self._start()
        told = f"session {self._warm.resumed} is resumed" if self._warm.resumed else "a new session begins"
        turn.emit(TurnNote, text=f"engine started; {told}")
        return self._warm

    async def _start(self) -> _Warm:
        resumed = self._session.id
        process = await EngineProcess.start(self._kind.command(self._attach(resumed)), self._take_stderr)
        log.info("engine started", pid=process.pid, session=resumed)
        return _Warm(process, self._group.create_task(process.pump()), resumed)

    async def _until_result(self, turn: Turn, warm: _Warm) -> dict[str, Any] | None:
        """The turn's `result` event; None when the engine ended without one."""
        while (line := await warm.process.next_line()) is not None:
            event = decode_event(line)
            for kind, fields in _live_events(event, line):
                turn.emit(kind, **fields)
            await self._live.room()
            if event is not None:
                self._observe(warm, event)
                if event.get("type") == "result":
                    return event
        return None

    def _observe(self, warm: _Warm, event: dict[str, Any]) -> None:
        if event.get("type") == "system" and event.get("subtype") == "init":
            warm.greeted = True
            self._silent_ends = 0
            session_id = event.get("session_id")
            if isinstance(session_id, str):
                self._session.keep(session_id[:100])
            self._check_mcp(warm, event)
        elif event.get("type") == "assistant" and event.get("parent_tool_use_id") is None:
            error = event.get("error")
            warm.error = error if isinstance(error, str) else None
            message = event.get("message")
            usage = usage_of(message.get("usage") if isinstance(message, dict) else None, context=0)
            warm.context = context_of(usage) or warm.context

    def _check_mcp(self, warm: _Warm, init: dict[str, Any]) -> None:
        """Say so once when the engine has no connection to the hive's tools."""
        servers = init.get("mcp_servers")
        found = {str(server.get("name")): str(server.get("status")) for server in servers or () if _is_object(server)}
        status = found.get(SERVER_NAME, "missing")
        if status != warm.mcp_status and status not in {"connected", "pending"}:
            log.error("engine has no connection to the hive", status=status)
            self._current.note(f"the engine has no connection to the tools of the hive (MCP server {status[:100]})")
        warm.mcp_status = status

    async def _take_stderr(self, line: str) -> None:
        if self._current.turn:
            self._current.turn.emit(TurnStderr, text=bounded(line))
        else:
            log.info("engine stderr", line=line[:500])
        await self._live.room()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _live_events(event: dict[str, Any] | None, line: str) -> list[Translated]:
    """One event of a shape nobody thought of must not end the loop."""
    if event is None:
        return [raw_line(line)]
    try:
        return list(translate(event))
    except Exception:
        log.exception("engine event could not be read")
        return [raw_line(line)]
