"""Runs turns on an engine: keeps it warm, feeds it prompts, publishes what it says, and tells how a turn ended."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from hive_contracts.agents import TurnOutcome
from hive_contracts.turns import TurnNote, TurnStderr
from hive_harness.engine import Attachment, EngineKind, EngineProcess, decode_event
from hive_harness.errors import EngineMissing
from hive_harness.leftovers import end_leftovers
from hive_harness.live import LivePublisher, bounded
from hive_harness.mcp import SERVER_NAME
from hive_harness.outcome import compaction_of, context_of, ending_of, reset_time, total_cost, usage_of
from hive_harness.partial import Partial
from hive_harness.session import SessionStore
from hive_harness.translate import Translated, raw_line, translate
from hive_harness.turn import Compaction, CurrentTurn, Ending, Stop, Turn
from hive_harness.watch import TurnLimits, Watch

RESUMES: Final = 2
"""An engine that ends this often in a row before it says anything is not given its old session again."""

INTERRUPT_S: Final = 1.0
"""How long an engine may take to leave off when it is asked to; then it is ended."""

KILL_S: Final = 0.3

BEGINS_ANEW: Final = (
    "This is a new conversation: the one before could not be continued. Read the notes in your working directory first."
)

log = structlog.get_logger()


@dataclass(slots=True)
class _Warm:
    """A running engine and what it has told so far."""

    process: EngineProcess
    pump: asyncio.Task[None]
    resumed: str | None
    model: str
    greeted: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    cost_usd: float = 0.0
    context: int = 0
    error: str | None = None
    resets_at: datetime | None = None
    compaction: Compaction | None = None
    retired: bool = False


class EngineRunner:
    """One turn at a time. The engine's output is moved by tasks of `group`."""

    def __init__(  # noqa: PLR0913 - it joins the engine to everything else
        self,
        kind: EngineKind,
        attach: Callable[[str | None, str], Attachment],
        *,
        session: SessionStore,
        current: CurrentTurn,
        live: LivePublisher,
        group: asyncio.TaskGroup,
        limits: TurnLimits,
        in_hand: Callable[[str], None],
        compacts: Callable[[bool], None],
        home: Path,
        model: Callable[[], str],
        on_broken: Callable[[dict[str, str]], None],
    ) -> None:
        self._kind = kind
        self._attach = attach
        self._session = session
        self._current = current
        self._live = live
        self._group = group
        self._outside = copy_context()  # an engine outlives the turn that started it, and its log names no message
        self._limits = limits
        self._in_hand = in_hand
        self._compacts = compacts
        self._one_at_a_time = asyncio.Lock()
        self._home = home
        self._watch: Watch | None = None
        self._partial: Partial | None = None
        self._model = model
        self._on_broken = on_broken
        self._warm: _Warm | None = None
        self._silent_ends = 0

    @property
    def pid(self) -> int | None:
        """The warm engine's."""
        return self._warm.process.pid if self._warm else None

    @property
    def has_session(self) -> bool:
        return self._session.id is not None

    async def run(self, turn: Turn, texts: Sequence[str]) -> Ending:
        """Run `turn` with a prompt of `texts`, the message that began it last.

        An engine whose turn did not end well is closed, unless it left off when it was asked to.
        """
        async with self._one_at_a_time:
            return await self._run(turn, texts)

    async def close_idle(self) -> None:
        """End the engine, but not in a turn."""
        async with self._one_at_a_time:
            await self.close()

    async def _run(self, turn: Turn, texts: Sequence[str]) -> Ending:
        self._watch = watch = Watch(turn, self._limits, self._in_hand)
        self._partial = Partial(turn.id, self._live)
        talk = asyncio.ensure_future(self._converse(turn, texts))
        verdict = asyncio.ensure_future(watch.verdict())
        try:
            await asyncio.wait({talk, verdict}, return_when=asyncio.FIRST_COMPLETED)
            if not talk.done():
                return await self._break_off(turn, talk, verdict.result())
            ending = _told(talk)
            if ending.outcome is not TurnOutcome.OK:
                await self._end_all()
            return ending
        finally:
            talk.cancel()
            verdict.cancel()
            await asyncio.wait({talk, verdict})

    async def _break_off(self, turn: Turn, talk: asyncio.Future[Ending], stop: Stop) -> Ending:
        """End the turn and what it runs, within `INTERRUPT_S` and two of `KILL_S`.

        One that came to a good end meanwhile is not called otherwise: it has had its effects.
        """
        if stop.gently and self._warm:
            await self._warm.process.interrupt()
            await asyncio.wait({talk}, timeout=INTERRUPT_S)
        told = _told(talk) if talk.done() else None
        if told is None or told.outcome is TurnOutcome.ENGINE_CRASHED:
            log.warning("engine did not leave off", reason=stop.reason)
            await self._end_all(working=True, patience_s=KILL_S)
        elif told.outcome is TurnOutcome.OK:
            return told
        last = turn.stop if turn.is_cancelled and turn.stop else stop  # a cancellation may have come on top of it
        return replace(told or Ending(last.outcome), outcome=last.outcome, reason=last.reason)

    async def _end_all(self, **how: Any) -> None:
        """End the engine, and commands of its that run in groups of their own."""
        await self.close(**how)
        end_leftovers(self._home)

    def begin_anew(self) -> None:
        """The next turn begins with an empty conversation; one that runs keeps its own to its end."""
        self._session.forget()
        if self._warm:
            self._warm.retired = True

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
        await warm.process.say([BEGINS_ANEW, *texts] if self._session.begins_anew else texts)
        result = await self._until_result(turn, warm)
        if result and warm.resumed and not warm.greeted and result.get("is_error") is True:
            return await self._start_over(turn, texts, "the session is gone")
        if result is None and warm.resumed and not warm.greeted:
            self._silent_ends += 1
            if self._silent_ends >= RESUMES:
                return await self._start_over(turn, texts, f"the engine ended {RESUMES} times on it")
        if result is None:
            reason = await warm.process.exit_reason()
            reason = f"the engine ended in the middle of the turn: {reason}"
            return Ending(TurnOutcome.ENGINE_CRASHED, reason, exit_status=warm.process.exit_status)
        return self._ending(warm, result)

    def _ending(self, warm: _Warm, result: dict[str, Any]) -> Ending:
        ending = ending_of(result, assistant_error=warm.error, context=warm.context, cost_before=warm.cost_usd)
        warm.cost_usd = max(warm.cost_usd, total_cost(result))
        if ending.outcome is TurnOutcome.OK and ending.session_id:
            self._keep_session(warm, ending.session_id)
        return replace(ending, resets_at=warm.resets_at, compaction=warm.compaction)

    def _keep_session(self, warm: _Warm, session_id: str) -> None:
        if not warm.retired:
            self._session.keep(session_id)

    async def _start_over(self, turn: Turn, texts: Sequence[str], reason: str) -> Ending:
        turn.emit(TurnNote, text=f"session {self._session.id} cannot be resumed ({reason}); a new one begins")
        log.warning("session cannot be resumed", session=self._session.id, reason=reason)
        self._silent_ends = 0
        self._session.forget()
        await self.close()
        return await self._converse(turn, texts)

    async def _ready(self, turn: Turn) -> _Warm:
        """The warm engine, or a new one."""
        if self._warm and (self._warm.process.ended or self._warm.retired or self._warm.model != self._model()):
            await self.close()
        if self._warm:
            for line in self._warm.process.leftovers():
                log.info("engine spoke between turns", line=line[:200])
            self._warm.error = self._warm.resets_at = self._warm.compaction = None
            return self._warm
        self._warm = await self._start()
        told = f"session {self._warm.resumed} is resumed" if self._warm.resumed else "a new session begins"
        turn.emit(TurnNote, text=f"engine started; {told}")
        return self._warm

    async def _start(self) -> _Warm:
        resumed = self._session.id
        attachment = self._attach(resumed, self._model())
        process = await EngineProcess.start(self._kind.command(attachment), self._take_stderr)
        log.info("engine started", pid=process.pid, session=resumed, model=attachment.model)
        pumping = process.pump()
        try:
            pump = self._group.create_task(pumping, context=self._outside)
        except RuntimeError as error:  # the harness ended while the engine began
            pumping.close()
            process.kill()
            raise asyncio.CancelledError from error
        return _Warm(process, pump, resumed, attachment.model)

    async def _until_result(self, turn: Turn, warm: _Warm) -> dict[str, Any] | None:
        """The turn's `result` event; None when the engine ended without one."""
        while (line := await warm.process.next_line()) is not None:
            event = decode_event(line)
            for kind, fields in _live_events(event, line):
                turn.emit(kind, **fields)
            await self._live.room()
            if event is not None:
                self._watch_over(event)
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
                self._keep_session(warm, session_id[:100])
            self._check_mcp(warm, event)
        elif event.get("type") == "assistant" and event.get("parent_tool_use_id") is None:
            error = event.get("error")
            warm.error = error if isinstance(error, str) else None
            message = event.get("message")
            usage = usage_of(message.get("usage") if isinstance(message, dict) else None, context=0)
            warm.context = context_of(usage) or warm.context
        elif event.get("type") == "system":
            self._observe_compaction(warm, event)
        elif event.get("type") == "rate_limit_event":
            warm.resets_at = reset_time(event) or warm.resets_at

    def _observe_compaction(self, warm: _Warm, event: dict[str, Any]) -> None:
        if event.get("subtype") == "status" and (event.get("status") == "compacting" or event.get("compact_result")):
            self._compacts(event.get("status") == "compacting")
        if told := compaction_of(event):
            warm.compaction = told
            warm.context = told.after or warm.context

    def _watch_over(self, event: dict[str, Any]) -> None:
        if self._watch:
            self._watch.see(event)
        if self._partial:
            self._partial.see(event)

    def _check_mcp(self, warm: _Warm, init: dict[str, Any]) -> None:
        """Say so once when the engine has no connection to the hive's tools, or to a further server."""
        servers = init.get("mcp_servers")
        found = {str(server.get("name")): str(server.get("status")) for server in servers or () if _is_object(server)}
        found.setdefault(SERVER_NAME, "missing")
        broken = {name[:40]: status[:100] for name, status in found.items() if status not in {"connected", "pending"}}
        for name, status in broken.items() - warm.broken.items():
            log.error("engine has no connection to an MCP server", server=name, status=status)
            whose = "the tools of the hive" if name == SERVER_NAME else f"the MCP server {name}, and goes on without it"
            self._current.note(f"the engine has no connection to {whose} ({status})")
        warm.broken = broken
        self._on_broken(broken)

    async def _take_stderr(self, line: str) -> None:
        if self._current.turn:
            self._current.turn.emit(TurnStderr, text=bounded(line))
        else:
            log.info("engine stderr", line=line[:500])
        await self._live.room()


def _told(talk: asyncio.Future[Ending]) -> Ending:
    """How the engine says that the turn ended."""
    try:
        return talk.result()
    except EngineMissing as error:
        return Ending(TurnOutcome.ENGINE_CRASHED, str(error))


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
