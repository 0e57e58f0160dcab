"""One browser that looks into an agent's terminal: bytes between its WebSocket and the two streams of that agent.

Nothing is kept here: a browser that comes back joins what the harness has open, and is shown what is still in the
stream. While it looks, somebody is signed in and the terminal is on, or it ends. Each look is a row of the audit log.
"""

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, ValidationError

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError, Refused
from hive_contracts.names import OPERATOR
from hive_contracts.terminal import (
    KEYS_LENGTH,
    MAX_INPUT_BYTES,
    SEEN_S,
    CloseTerminal,
    Columns,
    Lines,
    OpenTerminal,
    TerminalEnded,
    TerminalResized,
    TerminalShown,
    TerminalTyped,
    decoded,
    encoded,
)
from hive_dashboard.audit import DONE, Note, acted
from hive_dashboard.parts import Parts
from hive_dashboard.registry import AgentView
from hive_runtime.bus import Entry
from hive_runtime.errors import BusUnavailable

FIRST_S: Final = 10.0
BLOCK_MS: Final = 2_000
BATCH: Final = 4
PAUSE_S: Final = 0.02
"""With `BATCH` entries of 16 KiB: 3 MB/s are shown at most, however fast a hostile container writes."""

POLICY: Final = 1008
OVER: Final = 1000
AGAIN: Final = 1013
"""What a socket is closed with: refused, ended, or to be tried again, as the terminal itself goes on."""

log = structlog.get_logger()


class Size(BaseModel):
    """What a browser says of its window, as text; what is typed comes as bytes."""

    model_config = ConfigDict(extra="forbid")

    columns: Columns
    lines: Lines


def why_not(parts: Parts, agent: AgentView) -> str:
    """Why its terminal cannot be used now; empty when it can."""
    if not parts.terminals.is_on(agent):
        return "its terminal is turned off"
    return "" if agent.running else f"{agent.name} is {agent.container}: start it first"


async def _close(parts: Parts, agent: AgentView) -> None:
    """End what runs in it, if it is open, and leave nothing of it in Redis."""
    if agent.running:
        with contextlib.suppress(HiveError):
            await parts.commands.command_agent(agent.name, CloseTerminal())
    for stream in (streams.keys(agent.name), streams.screen(agent.name)):
        await parts.bus.clear(stream)


async def turn(parts: Parts, agent: AgentView, *, on: bool, who: str) -> None:
    """Off ends what runs in it."""
    with acted("terminal.on" if on else "terminal.off", agent.name):
        if on:
            parts.terminals.turn_on(agent, who=who)
        else:
            parts.terminals.turn_off(agent.name)
            await _close(parts, agent)


async def look(parts: Parts, socket: WebSocket, agent: AgentView, *, who: str) -> None:
    """Until either side has had enough. The socket is accepted, and closed at the end."""
    note = Note(parts.audit, parts.clock, address=socket.client.host if socket.client else "", who=who)
    row, began = note.begin("terminal.session", agent.name), time.monotonic()
    reason, code = "the dashboard ended", OVER
    try:
        reason = await Look(parts, socket, agent).run()
    except BusUnavailable as error:
        reason, code = str(error), AGAIN
    except HiveError as error:
        reason = str(error)
    finally:
        note.end(row, DONE, f"{time.monotonic() - began:.0f} s; {reason}")
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        if code == OVER:
            await socket.send_json({"ended": reason})
        await socket.close(code)


class Look:
    """One socket on one session of a terminal."""

    def __init__(self, parts: Parts, socket: WebSocket, agent: AgentView) -> None:
        self._parts = parts
        self._bus = parts.bus
        self._socket = socket
        self._agent = agent
        self._session = ""

    async def run(self) -> str:
        """Why it ended. Raises `HiveError` when there is no terminal to be had."""
        size = await self._first()
        after = await self._bus.last_id(streams.keys(self._agent.name))
        wanted = OpenTerminal(columns=size.columns, lines=size.lines, after=after)
        answer = await self._parts.commands.command_agent(self._agent.name, wanted)
        self._session = str(answer.get("session", ""))[:64]
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.send_json({"joined": self._session})
        tasks = [asyncio.ensure_future(work()) for work in (self._typed, self._shown, self._allowed)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _first(self) -> Size:
        try:
            async with asyncio.timeout(FIRST_S):
                return Size.model_validate_json(await self._socket.receive_text())
        except (TimeoutError, KeyError, ValidationError, WebSocketDisconnect) as error:
            raise Refused("the browser did not say how large its window is; reload the page") from error

    async def _typed(self) -> str:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return "the browser left"
            if data := message.get("bytes"):
                await self._type(data)
            elif text := message.get("text"):
                await self._resize(text)

    async def _type(self, data: bytes) -> None:
        for at in range(0, len(data), MAX_INPUT_BYTES):
            await self._tell(TerminalTyped(session=self._session, data=encoded(data[at : at + MAX_INPUT_BYTES])))

    async def _resize(self, text: str) -> None:
        with contextlib.suppress(ValidationError):
            size = Size.model_validate_json(text)
            await self._tell(TerminalResized(session=self._session, columns=size.columns, lines=size.lines))

    async def _shown(self) -> str:
        stream, cursor, last = streams.screen(self._agent.name), "0-0", ""
        reader = self._bus.reader()
        try:
            while True:
                entries = await reader.read_after({stream: cursor}, count=BATCH, block_ms=BLOCK_MS)
                for entry in entries:
                    cursor = entry.id
                    envelope = _envelope(entry)
                    if envelope is None or envelope.id == last:
                        continue  # written twice after a lost reply
                    last = envelope.id
                    if ended := await self._show(envelope):
                        return ended
                await asyncio.sleep(PAUSE_S)
        finally:
            await reader.aclose()

    async def _show(self, envelope: Envelope) -> str:
        """Why it is over; empty while it is not."""
        try:
            match envelope.type:
                case TerminalShown.TYPE:
                    output = envelope.payload(TerminalShown)
                    if output.session == self._session:
                        await self._socket.send_bytes(decoded(output.data))
                case TerminalEnded.TYPE:
                    ended = envelope.payload(TerminalEnded)
                    if ended.session == self._session:
                        await self._clear()
                        return ended.reason or "it ended"
        except MalformedEnvelope as error:
            log.warning("terminal entry is malformed", agent=self._agent.name, reason=str(error)[:200])
        return ""

    async def _clear(self) -> None:
        for stream in (streams.keys(self._agent.name), streams.screen(self._agent.name)):
            await self._bus.clear(stream)

    async def _allowed(self) -> str:
        """Says that somebody looks, for as long as somebody may."""
        while True:
            await self._tell(TerminalTyped(session=self._session))
            await asyncio.sleep(SEEN_S)
            if self._parts.auth.session(self._socket) is None:
                return "you were signed out"
            agent = self._parts.snapshots.current.agent(self._agent.name)
            if agent is None or (reason := why_not(self._parts, agent)):
                return reason if agent else "the agent is gone"
            if agent.container_since != self._agent.container_since:
                return "its container started anew, and what ran in it has ended"

    async def _tell(self, payload: Payload) -> Any:
        envelope = Envelope.of(payload, source=OPERATOR)
        return await self._bus.append(streams.keys(self._agent.name), envelope, at_most=KEYS_LENGTH)


def _envelope(entry: Entry) -> Envelope | None:
    try:
        return Envelope.decode(entry.fields)
    except MalformedEnvelope:
        return None
