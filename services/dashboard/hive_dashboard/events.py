"""The one reader of `hive:events` and of every agent's live stream; hands on what it reads."""

import asyncio
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import AgentCreated, AgentStateChanged
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.turns import TurnEnded
from hive_dashboard.alerts import Alerts
from hive_dashboard.commands import ANSWERS, Commands
from hive_dashboard.live import Live, position_of
from hive_dashboard.metrics import Metrics, count
from hive_dashboard.snapshot import Snapshots
from hive_runtime.backoff import Backoff
from hive_runtime.bus import Bus, Entry
from hive_runtime.errors import BusUnavailable
from hive_runtime.records.events import RecordedEvent, entry_time
from hive_runtime.records.messages import from_milliseconds

BLOCK_MS: Final = 2_000
"""Short, because an agent that nobody told of joins the next read only."""

BATCH: Final = 500
PAUSE_S: Final = 0.005
"""After entries, so that many that come one by one are read in few batches: 200 a second at most."""

REPLAY_MS: Final = 120_000
"""How far before its newest entry a live stream is read at start: more than the recorder is ever behind."""

log = structlog.get_logger()


class Feed:
    """`run` reads until cancelled. Cursors survive an absence of Redis, so that nothing is skipped."""

    def __init__(
        self,
        bus: Bus,
        *,
        snapshots: Snapshots,
        live: Live,
        commands: Commands,
        metrics: Metrics,
        alerts: Alerts,
    ) -> None:
        self._bus = bus
        self._snapshots = snapshots
        self._live = live
        self._commands = commands
        self._metrics = metrics
        self._alerts = alerts
        self._seen: dict[str, str] = {}  # what came before this dashboard is read again for the pages, not for figures
        self._cursors: dict[str, str] = {}
        self._agent_of: dict[str, str] = {}

    async def run(self) -> None:
        reader = self._bus.reader()
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._follow_agents()
                    entries = await reader.read_after(self._cursors, count=BATCH, block_ms=BLOCK_MS)
                except BusUnavailable:
                    self._snapshots.touch()
                    await self._bus.until_back()
                    await backoff.wait()
                    continue
                if backoff.tries:
                    self._snapshots.touch()  # it said that Redis is away
                    backoff.reset()
                for entry in entries:
                    self._cursors[entry.stream] = entry.id
                    self._take(entry)
                if await self._alerts.keep():
                    self._snapshots.touch()
                if any(entry.fields.get("type") == AgentCreated.TYPE for entry in entries):
                    await self._snapshots.refresh()  # at once, so that the next read has its stream
                if entries:
                    await asyncio.sleep(PAUSE_S)
        finally:
            await reader.aclose()

    async def _follow_agents(self) -> None:
        """A cursor for `hive:events` and for each agent's live stream; none for agents that are gone."""
        at_start = streams.EVENTS not in self._cursors
        if at_start:
            last = self._seen[streams.EVENTS] = await self._bus.last_id(streams.EVENTS)
            self._cursors[streams.EVENTS] = await asyncio.to_thread(self._alerts.begin, last)
            await self._snapshots.refresh(states=True)
        self._agent_of = {streams.live(agent.name): agent.name for agent in self._snapshots.current.agents}
        for stream in self._agent_of.keys() - self._cursors.keys():
            last = await self._bus.last_id(stream)
            self._seen[stream] = last if at_start else "0-0"
            self._cursors[stream] = f"{max(0, entry_time(last) - REPLAY_MS)}-0"
        for stream in self._cursors.keys() - self._agent_of.keys() - {streams.EVENTS}:
            del self._cursors[stream], self._seen[stream]

    def _take(self, entry: Entry) -> None:
        try:
            envelope = Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("entry is malformed", stream=entry.stream, entry=entry.id, reason=str(error)[:200])
            return
        if entry.stream == streams.EVENTS:
            if position_of(entry.id) > position_of(self._seen[entry.stream]):
                count(self._metrics, envelope)
            self._alerts.notice(entry, envelope)
            self._commands.handle_event(envelope)
            self._snapshots.touch()
        else:
            self._take_live(self._agent_of[entry.stream], entry, envelope)

    def _take_live(self, agent: str, entry: Entry, envelope: Envelope) -> None:
        if envelope.type == AgentStateChanged.TYPE:
            try:
                self._snapshots.note_state(agent, envelope.payload(AgentStateChanged).state)
            except MalformedEnvelope as error:
                log.warning("state is malformed", agent=agent, reason=str(error)[:200])
            return
        if envelope.type in ANSWERS:
            self._commands.handle_live(agent, envelope)
            return
        turn_id, seq = envelope.data.get("turn_id"), envelope.data.get("seq")
        event = RecordedEvent(
            entry.id,
            from_milliseconds(entry_time(entry.id)),
            envelope.type,
            turn_id if isinstance(turn_id, str) else "",
            seq if isinstance(seq, int) else 0,
            envelope.data,
        )
        self._live.take(agent, event, size=len(entry.fields.get("data", "")))
        if envelope.type == TurnEnded.TYPE and position_of(entry.id) > position_of(self._seen[entry.stream]):
            self._count_turn(agent, envelope)

    def _count_turn(self, agent: str, envelope: Envelope) -> None:
        try:
            self._metrics.turn(agent, envelope)
        except MalformedEnvelope as error:
            log.warning("turn is malformed", agent=agent, reason=str(error)[:200])
