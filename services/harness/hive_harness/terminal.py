"""The operator's terminal in this container: at most one, opened by a command that only the host's side can give.

What is typed comes over `hive:{<a>}:keys`, what is shown goes over `hive:{<a>}:screen`, at a pace and of a length
that are bounded. It outlives the browser that looks at it, so that one can come back; it ends when nobody has typed for
a while. While nobody looks it is not read, so that its programs wait and cost nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError
from hive_contracts.ids import new_id
from hive_contracts.terminal import (
    MAX_OUTPUT_BYTES,
    SCREEN_LENGTH,
    UNSEEN_S,
    CloseTerminal,
    OpenTerminal,
    TerminalEnded,
    TerminalResized,
    TerminalShown,
    TerminalTyped,
    decoded,
    encoded,
)
from hive_harness.config import HarnessConfig
from hive_harness.control import Control
from hive_harness.pty import Pty
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus, Entry
from hive_runtime.errors import BusUnavailable

PAUSE_S: Final = 0.02
"""Between two entries: with `MAX_OUTPUT_BYTES` each, at most 800 KB/s, however fast a program prints."""

BLOCK_MS: Final = 1_000
LAST_WORDS_S: Final = 0.7

log = structlog.get_logger()


class Session:
    """One shell. `clock` counts seconds."""

    def __init__(self, pty: Pty, *, after: str, clock: Callable[[], float]) -> None:
        self.id = new_id()
        self.pty = pty
        self.after = after
        self._clock = clock
        self.typed_at = self._seen_at = clock()
        self.seen = asyncio.Event()
        self.seen.set()

    def look(self, *, typed: bool) -> None:
        """Somebody looks, and may have typed."""
        self._seen_at = self._clock()
        self.seen.set()
        if typed:
            self.typed_at = self._seen_at

    def tick(self) -> float:
        """For how long nobody has typed. Notes when nobody looks any more."""
        if self._clock() - self._seen_at > UNSEEN_S:
            self.seen.clear()
        return self._clock() - self.typed_at


class Terminal:
    """Say with `attach` whose commands it takes; then `run`, until cancelled."""

    def __init__(self, config: HarnessConfig, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._bus = bus
        self._clock = clock
        self._session: Session | None = None
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()

    def attach(self, control: Control) -> None:
        control.on(OpenTerminal, self._open)
        control.on(CloseTerminal, self._close)

    async def run(self) -> None:
        """One session after the other."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            if session := self._session:
                await self._serve(session)

    async def aclose(self) -> None:
        """Bounded. `run` has been cancelled."""
        if session := self._session:
            self._session = None
            await session.pty.close()

    async def _open(self, wanted: OpenTerminal) -> Mapping[str, Any]:
        if (session := self._session) is not None:
            session.look(typed=True)
            session.pty.resize(wanted.columns, wanted.lines)
            return {"session": session.id, "fresh": False}
        pty = await Pty.start(
            columns=wanted.columns,
            lines=wanted.lines,
            env=self._config.engine_environment,
            cwd=self._config.state_dir,
            uid=self._config.engine_uid,
        )
        self._session = session = Session(pty, after=wanted.after, clock=self._clock)
        self._closing.clear()
        self._opened.set()
        log.info("terminal opened", session=session.id)
        return {"session": session.id, "fresh": True}

    async def _close(self, wanted: CloseTerminal) -> None:
        self._closing.set()

    async def _serve(self, session: Session) -> None:
        ends = {
            asyncio.ensure_future(self._show(session)): "the shell ended",
            asyncio.ensure_future(self._idle(session)): f"nobody typed for {self._config.settings.terminal_idle_s:g} s",
            asyncio.ensure_future(self._closing.wait()): "it was closed",
            asyncio.ensure_future(self._take_keys(session)): "its keys cannot be read",
        }
        reason = ""
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            reason = ends[next(iter(done))]
            for task in done:
                if error := task.exception():
                    log.error("terminal failed", session=session.id, exc_info=error)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)
            self._session = None
            await asyncio.shield(self._end(session, reason))

    async def _end(self, session: Session, reason: str) -> None:
        await session.pty.close()
        log.info("terminal closed", session=session.id, reason=reason)
        with contextlib.suppress(HiveError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._persist(TerminalEnded(session=session.id, reason=reason))

    async def _show(self, session: Session) -> None:
        """Until the shell has ended. What Redis does not take while it is away is shown late."""
        while data := await session.pty.read(MAX_OUTPUT_BYTES):
            await self._persist(TerminalShown(session=session.id, data=encoded(data)))
            await asyncio.sleep(PAUSE_S)
            await session.seen.wait()

    async def _idle(self, session: Session) -> None:
        while (left := self._config.settings.terminal_idle_s - session.tick()) > 0:  # noqa: ASYNC110 - for time itself
            await asyncio.sleep(min(left, UNSEEN_S / 4))

    async def _take_keys(self, session: Session) -> None:
        stream, cursor = streams.keys(self._config.agent), session.after
        reader = self._bus.reader()
        try:
            while True:
                try:
                    entries = await reader.read_after({stream: cursor}, count=100, block_ms=BLOCK_MS)
                except BusUnavailable:
                    await self._bus.until_back()
                    continue
                for entry in entries:
                    cursor = entry.id
                    await self._take(session, entry)
        finally:
            await reader.aclose()

    async def _take(self, session: Session, entry: Entry) -> None:
        try:
            envelope = Envelope.decode(entry.fields)
            match envelope.type:
                case TerminalTyped.TYPE:
                    await self._type(session, envelope.payload(TerminalTyped))
                case TerminalResized.TYPE:
                    size = envelope.payload(TerminalResized)
                    if size.session == session.id:
                        session.look(typed=False)
                        session.pty.resize(size.columns, size.lines)
        except MalformedEnvelope as error:
            log.warning("terminal entry is malformed", reason=str(error)[:200])

    async def _type(self, session: Session, typed: TerminalTyped) -> None:
        if typed.session != session.id:
            return
        data = decoded(typed.data)
        session.look(typed=bool(data))
        await session.pty.write(data)

    async def _persist(self, payload: Payload) -> None:
        """Its id stays the same, so that who reads it twice after a lost reply shows it once."""
        envelope = Envelope.of(payload, source=self._config.agent)
        await persist(lambda: self._append(envelope))

    async def _append(self, envelope: Envelope) -> str:
        return await self._bus.append(streams.screen(self._config.agent), envelope, at_most=SCREEN_LENGTH)
