"""A hostile agent with its real credential floods what it may write; the server's memory stays bounded.

Real servers, the real rules; the flood comes from a process of its own, as fast as the server takes it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from redis import exceptions
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.agents import AgentFloodEnded, AgentFlooding
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.names import OPERATOR
from hive_runtime import acl
from hive_runtime.bus import Ack, Batch, ensure_principal
from hive_runtime.errors import BusLocked, BusUnavailable
from hive_runtime.process import die_with_parent
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_trim import StreamTrimmer
from hive_runtime.redis_url import RedisAddress
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.principals import Principals
from hive_supervisor.quota import Quota

REDIS_7: Final = Path("/usr/bin/redis-server")
MIB: Final = 1 << 20

FLOOD: Final = """
import itertools, socket, sys, threading, time
path, password, kind = sys.argv[1:]
outbox, live, inbox, state = (b"hive:{ada}:" + part for part in (b"outbox", b"live", b"inbox", b"state"))

def pack(*words):
    return b"*%d\\r\\n" % len(words) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(word), word) for word in words)

def commands(first):
    match kind:
        case "many small entries":
            return pack(b"XADD", outbox, b"*", b"a", b"b") * 10_000
        case "large entries":
            return pack(b"XADD", live, b"*", b"data", b"x" * 1_000_000) * 20
        case "many fields":
            return pack(b"XADD", live, b"*", *(b"f%d" % n for n in range(10_000))) * 20
        case "a large state":
            return b"".join(pack(b"HSET", state, b"%d" % n, b"x" * 500_000) for n in range(first, first + 40))
        case "many readers":
            claim = (b"0", b"1-1", b"FORCE", b"JUSTID")
            names = (b"n%d" % n for n in range(first, first + 50_000))
            return b"".join(pack(b"XCLAIM", inbox, b"harness", name, *claim) for name in names)

def discard(connection):
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:
        pass

def flood(first):
    data = commands(first)
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(pack(b"AUTH", b"agent-ada", password.encode()))
                if connection.recv(100) != b"+OK\\r\\n":
                    raise OSError
                threading.Thread(target=discard, args=[connection], daemon=True).start()
                while True:
                    connection.sendall(data)
        except OSError:
            time.sleep(0.01)

for at in range(2):
    threading.Thread(target=flood, args=[at * 1_000_000]).start()
"""
KINDS: Final = ("many small entries", "large entries", "many fields", "a large state", "many readers")


@pytest.fixture(scope="module", params=["embedded", "redis-7.0"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    if request.param != "embedded" and not REDIS_7.exists():
        lacking = f"no {REDIS_7}: `apt-get install redis-server` to hold the quota against Redis 7.0"
        pytest.fail(lacking) if os.environ.get("CI") == "true" else pytest.skip(lacking)
    with redis_server(binary=None if request.param == "embedded" else str(REDIS_7)) as running:
        yield running


@dataclass
class Host:
    """What the quota told."""

    told: list[Payload] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    async def tell(self, payload: Payload, subject: str) -> None:
        self.told.append(payload)

    async def note(self, about: str, sentence: str) -> None:
        self.notes[about] = sentence


@dataclass
class Scene:
    """A server with two agents under quota; `peak` is the most memory that was in use above `base`."""

    server: RedisServer
    admin: RedisAdmin
    bus: RedisBus
    host: Host
    passwords: dict[str, str]
    base: int = 0
    peak: int = 0
    quota: Quota | None = None
    ahead_s: float = 0

    async def look(self, *, after_s: float) -> None:
        """By hand, as if so much time had passed."""
        assert self.quota
        self.ahead_s += after_s
        await self.quota.look()

    def address(self, name: str) -> RedisAddress:
        return RedisAddress(self.server.address.url, acl.agent_user(name), self.passwords[name])

    @contextmanager
    def flood(self, kind: str) -> Iterator[None]:
        """A hostile container, while the block lasts."""
        path = self.server.address.url.removeprefix("unix://")
        command = [sys.executable, "-c", FLOOD, path, self.passwords["ada"], kind]
        process = subprocess.Popen(command, preexec_fn=die_with_parent(signal.SIGKILL))
        try:
            yield
        finally:
            process.kill()
            process.wait()

    async def drain(self) -> None:
        """The broker's part, until cancelled."""
        async with aclosing(self.bus.reader()) as reader:
            while True:
                for stream, group in (
                    (streams.outbox("ada"), streams.GROUP_BROKER),
                    (streams.live("ada"), streams.GROUP_RECORDER),
                ):
                    found = await reader.read_new(stream, group, "broker", count=100, block_ms=10)
                    ack = Ack(stream, group, [entry.id for entry in found], delete=group == streams.GROUP_BROKER)
                    await self.bus.write(Batch(acks=[ack]))

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.peak = max(self.peak, (await self.admin.pressure()).memory - self.base)
            await asyncio.sleep(0.01)

    async def told(self, kind: type[Payload], times: int = 1) -> None:
        await until(lambda: sum(isinstance(it, kind) for it in self.host.told) >= times, within_s=60)


@asynccontextmanager
async def scene(server: RedisServer, tmp_path: Path, **settings: Any) -> AsyncIterator[Scene]:
    config = SupervisorSettings(**({"quota_mb": 16, "quota_pause_s": 0.5, "quota_look_s": 0.05} | settings))
    host = Host()
    admin, bus, trimmer = RedisAdmin(server.address), RedisBus(server.address), StreamTrimmer(server.address)
    async with aclosing(admin), aclosing(bus), aclosing(trimmer):
        await admin.flush()
        await bus.load_functions()
        principals = Principals(admin, bus, tmp_path)
        passwords = {name: await principals.ensure_agent(name) for name in ("ada", "eve")}
        await ensure_principal(bus, OPERATOR)
        made = Scene(server, admin, bus, host, passwords, base=(await admin.pressure()).memory)
        quota = made.quota = Quota(
            config,
            admin,
            trimmer,
            principals=principals,
            agents=lambda: ["ada", "eve"],
            host=host,
            clock=lambda: time.monotonic() + made.ahead_s,
        )
        tasks = [asyncio.ensure_future(work) for work in (quota.run(), made.watch(), made.drain())]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            failures = [task.exception() for task in tasks if not task.cancelled()]
        assert [it for it in failures if not isinstance(it, BusUnavailable)] == []


def on(server: RedisServer, tmp_path: Path, scenario: Callable[[Scene], Awaitable[None]], **settings: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100), scene(server, tmp_path, **settings) as made:
            await scenario(made)

    asyncio.run(bounded())


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_is_cut_off_memory_stays_bounded_and_the_agent_recovers(
    kind: str, server: RedisServer, tmp_path: Path
) -> None:
    async def scenario(made: Scene) -> None:
        async with aclosing(connect(server.address)) as redis:
            await redis.xadd(streams.inbox("ada"), {"a": "b"}, id="1-1")
        with made.flood(kind):
            await made.told(AgentFlooding)
            async with aclosing(RedisBus(made.address("eve"))) as eve:  # a peer's message goes through meanwhile
                await eve.append(streams.outbox("eve"), Envelope(source="eve", type="test.event"))
                async with aclosing(made.bus.reader()) as reader:
                    found = await reader.read_new(streams.outbox("eve"), "broker", "broker", count=1, block_ms=5000)
                    assert [entry.fields["source"] for entry in found] == ["eve"]
            await made.told(AgentFlooding, times=2)  # it goes on, and is cut off again, for longer
        pauses = [it.pause_seconds for it in made.host.told if isinstance(it, AgentFlooding)]
        assert pauses[:2] == [0.5, 1.0]
        await until(lambda: made.host.notes.get("ada") == "", within_s=60)
        async with aclosing(RedisBus(made.address("ada"))) as ada:
            await ada.append(streams.outbox("ada"), Envelope(source="ada", type="test.event"))
        assert made.peak < 512 * MIB
        assert (await made.admin.pressure()).memory - made.base < 64 * MIB

    on(server, tmp_path, scenario, quota_outbox_per_minute=3000)


def test_what_an_honest_agent_wrote_is_still_there_when_it_is_resumed(server: RedisServer, tmp_path: Path) -> None:
    async def scenario(made: Scene) -> None:
        async with aclosing(RedisBus(made.address("ada"))) as ada:
            await ada.append(streams.live("ada"), Envelope(source="ada", type="test.event"))
            await eventually(lambda: _is_read(made))
            await made.look(after_s=0)
            for number in range(101):
                await ada.append(streams.live("ada"), Envelope(source="ada", type="test.event", data={"n": number}))
            await made.look(after_s=10)
            assert [type(it) for it in made.host.told] == [AgentFlooding]
            assert "101 live entries within a minute" in made.host.notes["ada"]
            with pytest.raises(BusUnavailable):
                await ada.ping()
            await made.look(after_s=0.1)
            with pytest.raises(BusLocked):
                await ada.ping()
            await made.look(after_s=1)
            assert [type(it) for it in made.host.told] == [AgentFlooding, AgentFloodEnded]
            await ada.append(streams.live("ada"), Envelope(source="ada", type="test.event", data={"n": 101}))
        assert await made.bus.depth(streams.live("ada")) == 103
        await made.look(after_s=10)
        assert len(made.host.told) == 2
        assert made.host.notes["ada"] == ""

    on(server, tmp_path, scenario, quota_live_per_minute=100, quota_look_s=3600)


@pytest.mark.slow
def test_a_busy_agent_keeps_its_newest_entries_and_is_not_cut_off(server: RedisServer, tmp_path: Path) -> None:
    """What is recorded goes before its hour when it takes too much memory."""

    async def scenario(made: Scene) -> None:
        async with aclosing(RedisBus(made.address("ada"))) as ada:
            for number in range(3000):
                data = {"n": number, "text": "x" * 10_000}
                await ada.append(streams.live("ada"), Envelope(source="ada", type="test.event", data=data))
            await eventually(lambda: _has_at_most(made, 2900))
            assert await made.bus.last_id(streams.live("ada")) != "0-0"
        assert made.host.told == []

    on(server, tmp_path, scenario)


async def _has_at_most(made: Scene, entries: int) -> bool:
    return await made.bus.depth(streams.live("ada")) <= entries


async def _is_read(made: Scene) -> bool:
    return (await made.admin.loads(["ada"]))[0].live.added == 1


async def _has_no_crowd(made: Scene) -> bool:
    try:
        return (await made.admin.connections())["default"] <= 200
    except BusUnavailable:  # a new connection of the administrator's is nobody's for a moment, and is closed with them
        return False


def test_connections_have_a_quota_too(server: RedisServer, tmp_path: Path) -> None:
    async def scenario(made: Scene) -> None:
        many: list[Any] = [connect(made.address("ada")) for _ in range(80)]
        for connection in many:
            with suppress(BusLocked, exceptions.RedisError):
                await connection.ping()
        await made.told(AgentFlooding)
        assert (await made.admin.connections())[acl.agent_user("ada")] == 0
        for connection in many:
            await connection.aclose()

    on(server, tmp_path, scenario, quota_connections=40)


def test_who_does_not_log_in_cannot_take_every_connection(server: RedisServer, tmp_path: Path) -> None:
    async def scenario(made: Scene) -> None:
        path = made.server.address.url.removeprefix("unix://")
        strangers = [await asyncio.open_unix_connection(path) for _ in range(300)]
        await eventually(lambda: _has_no_crowd(made))
        for _, writer in strangers:
            writer.close()
        assert made.host.told == []

    on(server, tmp_path, scenario)
