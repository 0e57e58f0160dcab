"""The governed path (outbox → broker with checks, record, dedup → inbox → claim → fenced ack) against a bare hop.

The bare hop is raw redis-py: XADD, XREADGROUP, XACK each. Latency: one message at a time, the two by turns.
Throughput: a backlog drained by one broker process, and by two, of which each has half of eight senders; also what a
message takes of the processors, by process. Peers, where they are installed
(`pip install "hyperhive[bench]"`): one ungoverned hop of FastStream and of taskiq over Redis streams. All in one run,
in turns, on one server with its append-only file on (everysec), 1 KiB bodies.
Usage: python -m bench.governed_path [--rounds N] [--messages N]
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.peers import installed_peers
from tests.support.redis_server import ADMIN_PASSWORD, RedisServer, redis_server
from tests.support.waiting import eventually

from hive_broker.membership import owner
from hive_contracts import streams
from hive_contracts.agents import AgentRecord, Engine
from hive_contracts.envelope import Envelope
from hive_contracts.messages import SendMessage
from hive_runtime.bus import Append, Batch, ensure_principal
from hive_runtime.redis_bus import RedisBus, connect

BODY: Final = "x" * 1024
READY_S: Final = 120
"""A broker that starts first reads what was told and is not recorded yet: after a burst that takes seconds."""

SINGLES: Final = 300
BLOCK: Final = 25
"""Single messages in a row, before it is the other's turn: so both meet the same machine."""

BROKERS: Final = ("broker-0", "broker-1")
EACH: Final = 4
"""Senders of each broker: which one has a name follows from the name, and few names may all be of one."""


def _senders() -> list[str]:
    names = ("operator", *(f"sender-{number}" for number in range(100)))
    return [name for broker in BROKERS for name in [one for one in names if owner(BROKERS, one) == broker][:EACH]]


SENDERS: Final = _senders()
AGENTS: Final = ("ada", *(name for name in SENDERS if name != "operator"))


class Hive:
    """Agents and the operator on one server, with a broker process."""

    def __init__(self, redis: RedisServer, data_dir: Path, agents: Sequence[str] = AGENTS) -> None:
        self.bus = RedisBus(redis.address, load_functions=True)
        self._agents = agents
        self._redis = redis
        self._data_dir = data_dir
        (data_dir / "password").write_text(ADMIN_PASSWORD)

    async def prepare(self) -> None:
        now = datetime.now(UTC)
        for name in self._agents:
            await ensure_principal(self.bus, name)
            record = AgentRecord(name=name, engine=Engine.SCRIPTED, container_since=now, created_at=now)
            await self.bus.hash_set(streams.AGENTS, {name: record.model_dump_json()})
            await self.bus.hash_set(streams.state(name), {streams.LEASE_FIELD: "bench"})
        await ensure_principal(self.bus, "operator")

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = {
            **os.environ,
            "HIVE_DATA_DIR": str(self._data_dir),
            "HIVE_REDIS_URL": self._redis.address.url,
            "HIVE_REDIS_USER": "admin",
            "HIVE_REDIS_PASSWORD_FILE": str(self._data_dir / "password"),
            "HIVE_BROKER_SENDER_PER_MINUTE": "10000000",
            "HIVE_BROKER_PAIR_PER_MINUTE": "10000000",
            "HIVE_BROKER_INBOX_HARD": "10000000",
            "HIVE_BROKER_MISSING_LOOK_S": "3600",  # its agents tell nothing of what they do, as if it were lost
        }
        with (self._data_dir / "broker.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hive_broker", env=environment, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            await process.wait()

    async def send(self, sender: str = "operator") -> None:
        send = SendMessage(to="ada", body=BODY)
        await self.bus.append(streams.outbox(sender), Envelope.of(send, source=sender))

    async def receive(self, count: int) -> float:
        """Claim and acknowledge `count` messages one by one; when the last was done."""
        reader = self.bus.reader()
        done = 0
        while done < count:
            most = min(100, count - done)
            for entry in await reader.read_new(streams.inbox("ada"), "harness", "ada", count=most, block_ms=5000):
                await self.bus.ack_leased("ada", "bench", [entry.id])
                done += 1
        ended = time.perf_counter()
        await reader.aclose()
        return ended

    async def latency(self, count: int) -> float:
        """Median seconds from append to claimed and acknowledged."""
        reader = self.bus.reader()
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            await self.send()
            (entry,) = await reader.read_new(streams.inbox("ada"), "harness", "ada", count=1, block_ms=5000)
            await self.bus.ack_leased("ada", "bench", [entry.id])
            taken.append(time.perf_counter() - began)
        await reader.aclose()
        return statistics.median(taken)

    async def throughput(self, count: int, *, brokers: int = 1) -> tuple[float, dict[str, float]]:
        """Messages per second through so many broker processes, from the first to the last, as the peers count.

        And what a message takes of the processors, in microseconds, by process; the record may still be on its way.

        The backlog comes at once, when the brokers have shared the outboxes: what a process that starts takes of the
        processors, and the hand-over, are no part of it.
        """
        send = SendMessage(to="ada", body=BODY)
        sends = [(name, Envelope.of(send, source=name)) for name in itertools.islice(itertools.cycle(SENDERS), count)]
        async with AsyncExitStack() as stack:
            processes = [await stack.enter_async_context(self.broker()) for _ in range(brokers)]
            await self.ready(brokers)
            assert self._redis.process
            named = {f"broker {number}": process.pid for number, process in enumerate(processes, 1)}
            named |= {"redis": self._redis.process.pid, "bench": os.getpid()}
            before = {name: _cpu_s(pid) for name, pid in named.items()}
            batch = Batch([Append(streams.outbox(name), envelope) for name, envelope in sends])
            async with asyncio.TaskGroup() as group:
                group.create_task(self.bus.write(batch))
                began = await self.receive(1)
            rate = (count - 1) / (await self.receive(count - 1) - began)
            return rate, {name: (_cpu_s(pid) - before[name]) / count * 1e6 for name, pid in named.items()}

    async def ready(self, brokers: int) -> None:
        """The brokers have read what they had not recorded yet, and share the outboxes; one message of each came."""
        await eventually(lambda: self._shared(brokers), within_s=READY_S)
        await self._through()

    async def _shared(self, brokers: int) -> bool:
        views = [place.split(" ", 2)[2] for place in (await self.bus.hash_all(streams.BROKERS)).values()]
        return len(views) == brokers and all(view == views[0] and view.count(",") == brokers - 1 for view in views)

    async def _through(self) -> None:
        """Returns when one message of each sender came through: all outboxes are served."""
        for name in SENDERS:
            await self.send(name)
        await self.receive(len(SENDERS))


def _cpu_s(pid: int) -> float:
    """What a process has had of the processors."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


class Raw:
    """redis-py and nothing else."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis: Any = connect(redis.address)

    async def prepare(self) -> None:
        await self._redis.xgroup_create("raw", "g", id="0", mkstream=True)

    async def latency(self, count: int) -> float:
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            await self._redis.xadd("raw", {"body": BODY})
            await self._next(1)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    async def throughput(self, count: int) -> float:
        for _ in range(count):
            await self._redis.xadd("raw", {"body": BODY})
        began = time.perf_counter()
        done = 0
        while done < count:
            done += await self._next(100)
        return count / (time.perf_counter() - began)

    async def _next(self, count: int) -> int:
        reply = await self._redis.xreadgroup("g", "c", {"raw": ">"}, count=count, block=1000)
        pairs = reply if isinstance(reply, list) else list(reply.items())
        ids = [pair[0] for _, entries in pairs for pair in _flat(entries)]
        for entry_id in ids:
            await self._redis.xack("raw", "g", entry_id)
        return len(ids)


def _flat(entries: list[Any]) -> list[Any]:
    """RESP3 nests the pairs one level deeper."""
    return (
        entries[0] if entries and isinstance(entries[0], list) and isinstance(entries[0][0], list | tuple) else entries
    )


async def measure(redis: RedisServer, rounds: int, messages: int) -> None:
    with TemporaryDirectory() as directory:
        hive, raw = Hive(redis, Path(directory)), Raw(redis)
        await hive.prepare()
        await raw.prepare()
        peers = installed_peers(redis)
        latencies: dict[str, list[float]] = defaultdict(list)
        rates: dict[str, list[float]] = defaultdict(list)
        costs: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            async with hive.broker():
                await hive.ready(1)
                await hive.latency(10)
                for _ in range(SINGLES // BLOCK):
                    latencies["governed"].append(await hive.latency(BLOCK) * 1000)
                    latencies["raw"].append(await raw.latency(BLOCK) * 1000)
            for name, brokers in (("governed", 1), ("governed, 2 brokers", 2)):
                rate, taken = await hive.throughput(messages, brokers=brokers)
                rates[name].append(rate)
                for process, microseconds in taken.items():
                    costs[f"{name}: {process}"].append(microseconds)
            rates["raw"].append(await raw.throughput(messages))
            for name, peer in peers.items():
                rates[name].append(await peer(messages))
        await hive.bus.aclose()
    report("latency p50, ms", latencies)
    report("throughput, messages/s", rates)
    print("processors, microseconds per message")
    for name, values in costs.items():
        print(f"  {name:<30} {statistics.median(values):6.0f}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def report(what: str, columns: dict[str, list[float]]) -> None:
    governed = statistics.median(columns["governed"])
    print(what)
    for name, values in columns.items():
        median = statistics.median(values)
        print(f"  {name:<20} {median:9.2f}   governed is {governed / median:.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=3000)
    options = parser.parse_args()
    with redis_server() as redis:
        asyncio.run(measure(redis, options.rounds, options.messages))


if __name__ == "__main__":
    main()
