"""What a hive of many agents costs while nothing happens, and how soon one of many waiting agents wakes.

Idle: processor time of Redis, of Redis with the agents' harnesses waiting (two blocking reads each, as a harness has),
and of Redis and the broker with them; as percent of one core, over a window of whole blocking reads. The waiting
harnesses are connections of one process of the bench, whose own time does not count.
Wake-up, among one and among many, in turns: a message of the operator until the waiting agent has it (outbox, broker,
inbox), and the same written by an agent that has been silent for long, which waits for the broker with all others.

Usage: python -m bench.idle_agents [--agents N] [--messages N]
"""

import argparse
import asyncio
import gc
import os
import random
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.governed_path import Hive
from bench.harness_cost import resident_mb
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.messages import SendMessage
from hive_runtime.bus import BLOCK_MS, Entry
from hive_runtime.consumer import Consumer

WINDOW_S: Final = BLOCK_MS / 1000
SETTLE_S: Final = 5.0
SETTLED_S: Final = 45.0
"""After the broker's start: until those that were busy wait as idle ones do."""

BARE_S: Final = 10.0
AIM_PERCENT: Final = 2.0
AIM_P99: Final = 2.0
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
FILES: Final = 16_384
"""Connections of the waiting agents, on both sides."""

STARTED_S: Final = 120.0


class Waiting:
    """Agents that wait for messages, as their harnesses do: each on its inbox and on its control stream."""

    def __init__(self, hive: Hive, names: list[str]) -> None:
        self._bus = hive.bus
        self.names = names
        self._came: dict[str, asyncio.Future[float]] = {}

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(self._wait(name, kind)) for name in self.names for kind in ("inbox", "control")]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def next(self, name: str) -> "asyncio.Future[float]":
        """When its next message has come."""
        return self._came.setdefault(name, asyncio.get_running_loop().create_future())

    async def _wait(self, name: str, kind: str) -> None:
        stream = streams.inbox(name) if kind == "inbox" else streams.control(name)
        consumer = Consumer(self._bus, stream, streams.GROUP_HARNESS, name, may_create=False)
        try:
            while True:
                entries = await consumer.read()
                now = time.perf_counter()
                await self._take(name, kind, entries)
                consumer.settle([entry.id for entry in entries])
                if kind == "inbox" and entries and name in self._came:
                    self._came.pop(name).set_result(now)
        finally:
            await consumer.aclose()

    async def _take(self, name: str, kind: str, entries: list[Entry]) -> None:
        if kind == "inbox" and entries:
            await self._bus.ack_leased(name, "bench", [entry.id for entry in entries])


class Agents:
    """A hive of so many agents on a server of its own."""

    def __init__(self, redis: RedisServer, data_dir: Path, count: int) -> None:
        self.redis = redis
        self.names = [f"agent-{number}" for number in range(count)]
        self.hive = Hive(redis, data_dir, agents=self.names)
        self.waiting = Waiting(self.hive, self.names)

    async def started(self) -> None:
        """When the broker has taken up every outbox: the last one's message has come."""
        async with asyncio.timeout(STARTED_S):
            for name in self.names:
                await self.wake(name, self.names[0] if name != self.names[0] else "operator")

    async def wake(self, to: str, sender: str) -> float:
        """Seconds from the sender's append to the moment when the waiting agent has the message."""
        came = self.waiting.next(to)
        began = time.perf_counter()
        await self.hive.bus.append(streams.outbox(sender), Envelope.of(SendMessage(to=to, body="x"), source=sender))
        return await came - began


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def percent(seconds: float, *pids: int) -> list[float]:
    """Of one core, each process, over so many seconds."""
    began, before = time.monotonic(), [cpu_s(pid) for pid in pids]
    await asyncio.sleep(seconds)
    taken = time.monotonic() - began
    return [100 * (cpu_s(pid) - was) / taken for pid, was in zip(pids, before, strict=True)]


@asynccontextmanager
async def idle(agents: Agents) -> AsyncIterator[None]:
    """Prints what each stage costs, and leaves all running for the block."""
    redis = agents.redis.process
    assert redis
    print(f"idle, percent of one core, {len(agents.names)} agents")
    report_idle("Redis alone", await percent(BARE_S, redis.pid))
    await agents.hive.prepare()
    async with agents.waiting.all():
        await asyncio.sleep(SETTLE_S)
        report_idle("Redis, agents wait", await percent(WINDOW_S, redis.pid))
        async with agents.hive.broker() as broker:
            await agents.started()
            await asyncio.sleep(SETTLED_S)
            report_idle("Redis + broker, agents wait", await percent(WINDOW_S, redis.pid, broker.pid), aim=AIM_PERCENT)
            print(f"  broker: {open_files(broker.pid)} open files, {resident_mb(broker.pid):.0f} MB", flush=True)
            yield


def report_idle(what: str, parts: list[float], *, aim: float | None = None) -> None:
    each = f"   {' + '.join(f'{part:.2f}' for part in parts)}" if len(parts) > 1 else ""
    print(f"  {what:<30}{sum(parts):6.2f}{each}{f'   (aim: {aim:g})' if aim else ''}", flush=True)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def wake_ups(one: Agents, many: Agents, messages: int) -> None:
    """In turns, so that both meet the same machine."""
    taken: dict[str, list[float]] = {"1": [], "many": [], "many, by one that was silent": []}
    silent = random.sample(many.names, min(messages, len(many.names)))
    for number in range(messages):
        taken["1"].append(await one.wake(one.names[0], "operator"))
        taken["many"].append(await many.wake(random.choice(many.names), "operator"))
        sender = silent[number % len(silent)]
        to = many.names[many.names.index(sender) - 1]
        taken["many, by one that was silent"].append(await many.wake(to, sender))
    print(f"wake-up of a waiting agent, n {messages} each, 1 among {len(one.names)} and among {len(many.names)}")
    base_p50, base_p99 = quantiles(taken["1"])
    for name, seconds in taken.items():
        p50, p99 = quantiles(seconds)
        print(
            f"  {name:<30}p50 {p50 * 1000:6.2f} ms   p99 {p99 * 1000:6.2f} ms"
            f"   of the one's: {p50 / base_p50:.2f} and {p99 / base_p99:.2f}   (aim: {AIM_P99:g})"
        )


def quantiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]


async def measure(servers: tuple[RedisServer, RedisServer], count: int, messages: int) -> None:
    async with AsyncExitStack() as stack:
        directories = [Path(stack.enter_context(TemporaryDirectory())) for _ in servers]
        one, many = (
            Agents(redis, path, size) for redis, path, size in zip(servers, directories, (1, count), strict=True)
        )
        await stack.enter_async_context(idle(many))
        await one.hive.prepare()
        await stack.enter_async_context(one.waiting.all())
        await stack.enter_async_context(one.hive.broker())
        await one.started()
        gc.freeze()
        await wake_ups(one, many, messages)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=500)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most) if most > 0 else FILES, most))
    with redis_server() as one, redis_server() as many:
        asyncio.run(measure((one, many), options.agents, options.messages))


if __name__ == "__main__":
    main()
