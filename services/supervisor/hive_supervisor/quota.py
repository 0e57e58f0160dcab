"""Keeps an agent from filling the Redis server that all share.

An agent may append to two streams and keep a hash of its own; the server has no quota for that. So the supervisor
looks: at the server's memory and connections several times a second, which is one cheap command, and at what each agent
holds when memory grew, and now and then. Who is over its quota is suspended: its user is switched off and its
connections are ended, until its streams are drained and a pause is over. An honest harness waits as if Redis were
away and loses nothing; other agents notice nothing.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from hive_contracts import streams
from hive_contracts.agents import AgentFloodEnded, AgentFlooding
from hive_contracts.envelope import Payload
from hive_contracts.errors import Unavailable
from hive_contracts.terminal import SCREEN_LENGTH
from hive_runtime.acl import agent_user
from hive_runtime.redis_admin import Footprint, Load, Pressure, RedisAdmin
from hive_runtime.redis_trim import StreamTrimmer
from hive_runtime.trim import TrimRule
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.principals import Principals

MIB: Final = 1 << 20
GROWTH_BYTES: Final = 16 * MIB
"""By so much the server's memory grows before every agent is looked at."""

EVERYONE_S: Final = 5.0
AGENTS_PER_S: Final = 50
"""How often every agent is looked at in any case; the more there are the rarer, as each costs Redis 70 µs."""

WINDOW_S: Final = 60.0
LONGEST_PAUSE_S: Final = 600.0
FORGIVEN_S: Final = 3600.0
"""So long after a pause the next one is short again. Seconds."""

MEAN_ENTRY_BYTES: Final = 32 * 1024
"""Harnesses cut texts at 16,000 characters: a stream full of entries so large is no harness's."""

CROWD: Final = 10
"""Times the quota of a minute: so many entries wait in no honest agent's stream, however long its reader was away."""

STATE_BYTES: Final = MIB
CONSUMERS: Final = 64
"""A harness reads as one consumer; each further name takes memory that no trimming frees."""

CONTROL_ENTRIES: Final = 10_000
FACTS: Final = 200_000
"""Answers and facts that a flood of refused sends would pile up until retention comes by."""

STRANGERS: Final = 200
"""Connections that have not logged in: all are ended beyond this number."""

SPARE_CONNECTIONS: Final = 64
CHUNK: Final = 100
REPLAY: Final = (2000, 200)

log = structlog.get_logger()


class Host(Protocol):
    """What the quota asks of the supervisor."""

    async def tell(self, payload: Payload, subject: str) -> None: ...

    async def note(self, about: str, sentence: str) -> None: ...


@dataclass(slots=True)
class Account:
    """One agent's. Times are seconds of a clock that only runs forward; `until` is None while it is not suspended."""

    until: float | None = None
    strikes: int = 0
    forgiven_at: float = 0.0
    samples: deque[tuple[float, int | None, int | None]] = field(default_factory=deque)

    def sample(self, now: float, found: Footprint) -> tuple[int, int]:
        """Entries added to outbox and live stream within the window."""
        self.samples.append((now, found.outbox.added, found.live.added))
        while self.samples[0][0] < now - WINDOW_S:
            self.samples.popleft()
        return self._grown(1), self._grown(2)

    def _grown(self, column: int) -> int:
        counts = [count for sample in self.samples if isinstance(count := sample[column], int)]
        return max(0, counts[-1] - counts[0]) if counts else 0


class Quota:
    """`agents` names those there are. `clock` gives seconds."""

    def __init__(  # noqa: PLR0913 - what it measures with, and whom it tells
        self,
        config: SupervisorSettings,
        admin: RedisAdmin,
        trimmer: StreamTrimmer,
        *,
        principals: Principals,
        agents: Callable[[], Sequence[str]],
        host: Host,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._admin = admin
        self._trimmer = trimmer
        self._principals = principals
        self._agents = agents
        self._host = host
        self._clock = clock
        self._calm = Pressure(0, 0)
        self._everyone_at = 0.0
        self._accounts: dict[str, Account] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._config.quota_look_s)
            try:
                await self.look()
            except Unavailable as error:
                log.debug("quota not looked at", code=error.code)

    async def look(self) -> None:
        """Suspend who is over its quota, resume who no longer is. Raises `Unavailable`."""
        now, pressure = self._clock(), await self._admin.pressure()
        if pressure.connections > self._calm.connections + SPARE_CONNECTIONS:
            await self._judge_connections(now)
        everyone = now >= self._everyone_at or pressure.memory > self._calm.memory + GROWTH_BYTES
        names = list(self._agents()) if everyone else [name for name, it in self._accounts.items() if it.until]
        for name, found in await self._measure(names):
            await self._judge(name, found, now)
        if everyone:
            self._everyone_at = now + max(EVERYONE_S, len(names) / AGENTS_PER_S)
            self._accounts = {name: it for name, it in self._accounts.items() if name in names}
            await self._bound_facts()
            pressure = await self._admin.pressure()
        lower = min(self._calm.memory, pressure.memory)
        self._calm = Pressure(pressure.memory if everyone else lower, min(self._calm.connections, pressure.connections))

    async def _measure(self, names: Sequence[str]) -> list[tuple[str, Footprint]]:
        found: list[tuple[str, Footprint]] = []
        for at in range(0, len(names), CHUNK):
            part = names[at : at + CHUNK]
            found += zip(part, await self._admin.loads(part), strict=True)
        return found

    async def _judge(self, name: str, found: Footprint, now: float) -> None:
        account = self._accounts.setdefault(name, Account())
        if found.size > self._config.quota_mb * MIB:
            found = await self._relieve(name, found)
        reason = self._excess(account, found, now)
        if reason and account.until is None:
            await self._suspend(name, reason, now)
        if reason:
            await self._cut(name, found)
        elif account.until is not None and now >= account.until:
            await self._resume(name, account)

    def _excess(self, account: Account, found: Footprint, now: float) -> str:
        """Why it is over its quota; empty when it is not."""
        config = self._config
        sent, shown = account.sample(now, found)
        quota = config.quota_mb * MIB // (1 if account.until is None else 2)
        if found.size > quota:
            return f"its streams take {found.size // MIB} MiB of Redis, {config.quota_mb} are its quota"
        if found.state.size > STATE_BYTES:
            return f"its state hash takes {found.state.size // 1024} KiB of Redis"
        if max(found.inbox.consumers, found.control.consumers) > CONSUMERS:
            return f"it reads its streams under more than {CONSUMERS} names"
        if sent > config.quota_outbox_per_minute:
            return f"{sent} entries in its outbox within a minute, {config.quota_outbox_per_minute} are its quota"
        if shown > config.quota_live_per_minute:
            return f"{shown} live entries within a minute, {config.quota_live_per_minute} are its quota"
        return ""

    async def _relieve(self, name: str, found: Footprint) -> Footprint:
        """What is recorded goes before its time, but for the newest."""
        for keep in REPLAY:
            rule = TrimRule(keep=keep, groups=(streams.GROUP_RECORDER,))
            while await self._trimmer.trim_some(streams.live(name), rule):
                pass
            ((_, found),) = await self._measure([name])
            if found.size <= self._config.quota_mb * MIB // 2:
                break
        if found.control.length > CONTROL_ENTRIES:
            await self._admin.keep_newest(streams.control(name), CONTROL_ENTRIES)
            ((_, found),) = await self._measure([name])
        return found

    async def _cut(self, name: str, found: Footprint) -> None:
        """Throw away what no harness writes; it would fill its reader's memory as it fills the server's."""
        await self._cut_stream(streams.outbox(name), found.outbox, self._config.quota_outbox_per_minute)
        await self._cut_stream(streams.live(name), found.live, self._config.quota_live_per_minute)
        await self._cut_stream(streams.screen(name), found.screen, SCREEN_LENGTH)
        if found.state.size > STATE_BYTES:
            await self._admin.delete(streams.state(name))
        for stream, load in ((streams.inbox(name), found.inbox), (streams.control(name), found.control)):
            if load.consumers > CONSUMERS:
                await self._admin.forget_group(stream, streams.GROUP_HARNESS)
                await self._principals.ensure_agent(name)

    async def _cut_stream(self, stream: str, load: Load, per_minute: int) -> None:
        """Only the newest stay: of too many entries a minute's quota, of too large ones as many as fit."""
        if load.length > CROWD * per_minute:
            await self._admin.keep_newest(stream, per_minute)
        if load.mean > MEAN_ENTRY_BYTES:
            await self._admin.keep_newest(stream, round(self._config.quota_mb * MIB / 8 / load.mean))

    async def _judge_connections(self, now: float) -> None:
        users = await self._admin.connections()
        for name in self._agents():
            number = users[agent_user(name)]
            if number > self._config.quota_connections and self._accounts.setdefault(name, Account()).until is None:
                most = self._config.quota_connections
                await self._suspend(name, f"{number} connections to Redis at once, {most} are its quota", now)
        if users["default"] > STRANGERS and not await self._admin.is_open():
            log.warning("connections without a login ended", number=users["default"])
            await self._admin.disconnect("default")
        pressure = await self._admin.pressure()
        self._calm = Pressure(self._calm.memory, pressure.connections)

    async def _bound_facts(self) -> None:
        while await self._trimmer.trim_some(streams.EVENTS, TrimRule(keep=FACTS, groups=(streams.GROUP_RECORD,))):
            pass

    async def _suspend(self, name: str, reason: str, now: float) -> None:
        account = self._accounts[name]
        if now > account.forgiven_at:
            account.strikes = 0
        pause = min(LONGEST_PAUSE_S, self._config.quota_pause_s * 2**account.strikes)
        account.until, account.strikes = now + pause, min(20, account.strikes + 1)
        account.forgiven_at = account.until + FORGIVEN_S
        account.samples.clear()
        await self._principals.suspend(name)
        log.warning("agent floods", agent=name, reason=reason, pause_s=pause)
        await self._host.note(name, f"{name} is cut off from Redis for {pause:g} s at least, as it floods: {reason}.")
        await self._host.tell(AgentFlooding(agent=name, reason=reason, pause_seconds=pause), name)

    async def _resume(self, name: str, account: Account) -> None:
        account.until = None
        account.samples.clear()
        await self._principals.resume(name)
        log.info("agent may write again", agent=name)
        await self._host.note(name, "")
        await self._host.tell(AgentFloodEnded(agent=name), name)
