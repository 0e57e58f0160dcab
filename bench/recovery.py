"""How soon a hive works again: a killed harness's message in turn, a killed Redis, an emptied one (FLUSHALL).

A whole hive as its user starts it, with an agent whose engine is warm; each kind several times, one after the other.

harness    `kill -9` of a harness in a turn, until its message is in turn again (`message.in_turn` on `hive:events`):
           from the kill, and from the start of the new harness process.
restart    `kill -9` of Redis, until a message that is sent then (HTTP, tried again at once while refused) is acked:
           from the kill, and from the moment the server answers again.
flushall   FLUSHALL, which takes every stream, group, lease and registry, until a message that is sent then is acked.

Usage: python -m bench.recovery [--tries N]
"""

import argparse
import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import httpx
from tests.support.hive import Hive, hive
from tests.support.waiting import until

from hive_cli.chaos.stage import PATIENT
from hive_cli.paths import DataDir
from hive_cli.stack import redis_embedded
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.errors import HiveError
from hive_contracts.messages import MessageAcked, MessageInTurn
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress

AGENT: Final = "hm1nd"
SETTLE_S: Final = 1.0
LOOK_S: Final = 0.001
TRY_S: Final = 60.0


class Watched:
    """A running hive, and its events as they come."""

    def __init__(self, running: Hive) -> None:
        self.hive = running
        password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
        self.socket = running.data_dir / "run" / "redis" / "redis.sock"
        self.address = RedisAddress(f"unix://{self.socket}", "hive-supervisor", password)
        self._seen: dict[tuple[str, str], list[float]] = {}
        token = (running.data_dir / "secrets" / "api-token").read_text().strip()
        self._http = httpx.AsyncClient(base_url=running.address, headers={"Authorization": f"Bearer {token}"})

    async def follow(self) -> None:
        """Note when each message came to be in turn, or acked, until cancelled."""
        async with aclosing(RedisBus(self.address)) as bus:
            reader, cursor = bus.reader(), "0-0"
            while True:
                try:
                    entries = await reader.read_after({streams.EVENTS: cursor}, count=100, block_ms=1000)
                    if not entries and await bus.last_id(streams.EVENTS) < cursor:
                        cursor = "0-0"
                except HiveError:
                    await asyncio.sleep(LOOK_S)
                    continue
                for entry in entries:
                    cursor = entry.id
                    event = Envelope.decode(entry.fields)
                    self._seen.setdefault((event.type, event.subject), []).append(time.monotonic())

    async def when(self, kind: str, message_id: str, *, after: float) -> float:
        """When it was first seen after that time."""
        found: list[float] = []

        def seen() -> bool:
            found[:] = [at for at in self._seen.get((kind, message_id), ()) if at >= after]
            return bool(found)

        async with asyncio.timeout(TRY_S):
            while not seen():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        return found[0]

    async def send(self, body: str, *, key: str) -> str:
        """Until it is accepted."""
        while True:
            try:
                reply = await self._http.post(
                    "/api/v1/messages", json={"to": AGENT, "body": body}, headers={"Idempotency-Key": key}
                )
                if reply.status_code == 201:
                    return str(reply.json()["id"])
            except httpx.HTTPError:
                pass
            await asyncio.sleep(LOOK_S)

    async def is_up(self) -> None:
        while await redis_embedded.answers(DataDir(self.hive.data_dir), self.socket) != "ready":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)


async def harness(watched: Watched, number: int) -> dict[str, float]:
    began = time.monotonic()
    message_id = await watched.send("!sleep 1\n!say done", key=f"harness-{number}")
    await watched.when(MessageInTurn.TYPE, message_id, after=began)
    pid = watched.hive.process_of("hive_harness", agent=AGENT)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    started = await _new_harness(watched, pid)
    again = await watched.when(MessageInTurn.TYPE, message_id, after=killed)
    await watched.when(MessageAcked.TYPE, message_id, after=killed)
    return {"from the kill": again - killed, "from its start": again - started}


async def _new_harness(watched: Watched, former: int) -> float:
    """When the new process was first seen."""

    def other() -> bool:
        try:
            return watched.hive.process_of("hive_harness", agent=AGENT) != former
        except (AssertionError, OSError, ValueError):
            return False

    await until(other, within_s=TRY_S)
    return time.monotonic()


async def restart(watched: Watched, number: int) -> dict[str, float]:
    os.kill(watched.hive.process_of(f"unixsocket:{watched.socket}"), signal.SIGKILL)
    killed = time.monotonic()
    while await redis_embedded.answers(DataDir(watched.hive.data_dir), watched.socket) != "away":  # noqa: ASYNC110
        await asyncio.sleep(0)
    await watched.is_up()
    up = time.monotonic()
    done = await _answered(watched, f"restart-{number}", up)
    return {"from the kill": done - killed, "from the server's answer": done - up}


async def flushall(watched: Watched, number: int) -> dict[str, float]:
    async with aclosing(RedisAdmin(watched.address)) as admin:
        await admin.flush()
    flushed = time.monotonic()
    return {"from FLUSHALL": await _answered(watched, f"flush-{number}", flushed) - flushed}


async def _answered(watched: Watched, key: str, since: float) -> float:
    message_id = await watched.send("!say here", key=key)
    return await watched.when(MessageAcked.TYPE, message_id, after=since)


KINDS: Final[dict[str, Callable[[Watched, int], Awaitable[dict[str, float]]]]] = {
    "harness": harness,
    "restart": restart,
    "flushall": flushall,
}


@asynccontextmanager
async def watching(running: Hive) -> AsyncIterator[Watched]:
    watched = Watched(running)
    task = asyncio.ensure_future(watched.follow())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])


async def measure(running: Hive, tries: int) -> None:
    async with watching(running) as watched:
        await _answered(watched, "warm", 0.0)
        for kind, one in KINDS.items():
            taken: dict[str, list[float]] = {}
            for number in range(tries):
                await asyncio.sleep(SETTLE_S)
                for name, seconds in (await one(watched, number)).items():
                    taken.setdefault(name, []).append(seconds)
            for name, all_of_them in taken.items():
                report(kind, name, all_of_them)


def report(kind: str, name: str, taken: list[Any]) -> None:
    taken.sort()
    p99 = taken[min(len(taken) - 1, round(0.99 * len(taken)))]
    median = statistics.median(taken)
    print(f"{kind:<10} {name:<26} n {len(taken):>3}  median {median:6.3f} s  p99 {p99:6.3f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10)
    options = parser.parse_args()
    with hive(environment=PATIENT) as running:
        asyncio.run(measure(running, options.tries))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
