"""Many open pages while much happens: from an entry's XADD in Redis until a page's socket has its event.

Each entry of an agent's live stream carries the time at which it was written. The dashboard is its own process, as the
hive starts it; pages are connections of one other process, which reads the time out of what a part of them gets and
counts the events of all. One more page never reads a byte. Beside it, in the same run and in turns, a server with
sse-starlette: one reader as well, and a queue a client, from which it encodes each event for itself.

Delivered: events that came of those due, resets apart, which are counted: a page that gets one renders anew.

Usage: python -m bench.sse_clients [--clients N] [--rate N] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.dashboard.process import DashboardProcess, dashboard_process, free_port
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, ContainerStatus, Engine
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnText
from hive_runtime.bus import ensure_principal
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress

AGENT: Final = "ada"
READ_FULLY: Final = 20
"""Of so many pages one is read event by event; of the others events are counted."""

STREAM_LENGTH: Final = 20_000
AIM_P99_MS: Final = 100.0
FILES: Final = 16_384
GRACE_S: Final = 3.0
QUEUE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Times in milliseconds; `processor`: the server's, in microseconds for each event that a page got."""

    delivered: float
    resets: float
    p50: float
    p99: float
    processor: float

    def line(self, name: str) -> str:
        return (
            f"{name:14} delivered {self.delivered:6.1%}  resets {self.resets:4.0f}  p50 {self.p50:7.1f} ms  "
            f"p99 {self.p99:7.1f} ms  server {self.processor:5.1f} µs an event"
        )


class Page(asyncio.Protocol):
    """A client of a stream of events, as cheap as can be."""

    def __init__(self, request: bytes, *, reads: bool) -> None:
        self._request = request
        self._reads = reads
        self.events = self.resets = 0
        self.late: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        self.events += data.count(b"@t")
        self.resets += data.count(b"event: reset")
        if self._reads:
            self.late += [(now - int(found)) / 1e6 for found in re.findall(rb"@t(\d{19})", data)]


def pages(address: str, request: bytes, clients: int, told: Any, go: Any, stop: Any) -> None:
    """The process that holds all pages: says when they are open, and after `stop` what they got."""
    _more_files()

    async def main() -> None:
        host, port = address.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        opened = []
        for number in range(clients):
            page = Page(request, reads=number % READ_FULLY == 0)
            await loop.create_connection(lambda page=page: page, host, int(port))  # type: ignore[misc]
            opened.append(page)
        stalled, _ = await loop.create_connection(lambda: Page(request, reads=False), host, int(port))
        stalled.pause_reading()
        await asyncio.sleep(1)
        told.put("open")
        await loop.run_in_executor(None, stop.wait)
        late = sorted(ms for page in opened for ms in page.late)
        told.put((sum(page.events for page in opened), sum(page.resets for page in opened), late))

    asyncio.run(main())


async def measure(redis: RedisServer, address: str, request: bytes, pid: int, options: argparse.Namespace) -> Figures:
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    go, stop = context.Event(), context.Event()
    holder = context.Process(target=pages, args=(address, request, options.clients, told, go, stop))
    holder.start()
    try:
        assert await asyncio.to_thread(told.get, True, 120) == "open"
        before = _processor(pid)
        sent = await write(redis, rate=options.rate, seconds=options.seconds)
        await asyncio.sleep(GRACE_S)
        used = _processor(pid) - before
        stop.set()
        events, resets, late = await asyncio.to_thread(told.get, True, 60)
    finally:
        stop.set()
        await asyncio.to_thread(holder.join)
    p50, p99 = (late[len(late) // 2], late[len(late) * 99 // 100]) if late else (float("nan"), float("nan"))
    return Figures(events / (sent * options.clients), resets, p50, p99, used * 1e6 / max(1, events))


async def write(redis: RedisServer, *, rate: int, seconds: float) -> int:
    """Entries at an even pace, fifty batches a second; how many."""
    bus = RedisBus(redis.address)
    sent, began = 0, time.monotonic()
    try:
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate) - sent
            for _ in range(due):
                event = TurnText(turn_id="turn", seq=sent, text=f"@t{time.time_ns()}")
                await bus.append(streams.live(AGENT), Envelope.of(event, source=AGENT), at_most=STREAM_LENGTH)
                sent += 1
            await asyncio.sleep(0.02)
    finally:
        await bus.aclose()
    return sent


def hive_dashboard(redis: RedisServer, options: argparse.Namespace) -> Figures:
    with TemporaryDirectory() as directory, dashboard_process(redis, Path(directory), free_port()) as process:
        return asyncio.run(_of_the_hive(redis, process, options))


async def _of_the_hive(redis: RedisServer, process: DashboardProcess, options: argparse.Namespace) -> Figures:
    await register(redis)
    async with httpx.AsyncClient(base_url=process.address) as http:
        await process.answers(http, "/healthz", 200)
    headers = {"authorization": f"Bearer {process.api_token}"}
    async with httpx.AsyncClient(base_url=process.address, headers=headers) as http:
        await process.answers(http, "/readyz", 200)
        await process.answers(http, f"/api/v1/agents/{AGENT}", 200)
        link = (await http.post("/api/v1/sign-in-links")).json()["url"]
    async with httpx.AsyncClient(base_url=process.address) as browser:
        await browser.get(link)
        page = (await browser.get(f"/agents/{AGENT}")).text
        found = re.search(r'sse-connect="([^"]+)"', page)
        assert found, page[:500]
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    request = _request(found[1].replace("&amp;", "&"), process.address, f"Cookie: {cookie}\r\n")
    return await measure(redis, process.address, request, process.child.pid, options)


def peer(port: int, redis: RedisAddress) -> None:
    """A server with sse-starlette, as its users write one."""
    _more_files()
    queues: set[asyncio.Queue[str]] = set()

    async def read() -> None:
        bus = RedisBus(redis)
        reader, cursor = bus.reader(), await bus.last_id(streams.live(AGENT))
        while True:
            for entry in await reader.read_after({streams.live(AGENT): cursor}, count=500, block_ms=2000):
                cursor = entry.id
                text = f'<div class="row row-text">{Envelope.decode(entry.fields).data["text"]}</div>'
                for queue in queues:
                    if not queue.full():
                        queue.put_nowait(text)

    async def stream(request: Request) -> Response:
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)

        async def events() -> AsyncIterator[dict[str, str]]:
            queues.add(queue)
            try:
                while True:
                    yield {"event": "row", "data": await queue.get()}
            finally:
                queues.discard(queue)

        return EventSourceResponse(events())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.ensure_future(read())
        yield
        task.cancel()

    app = Starlette(routes=[Route("/stream", stream)], lifespan=lifespan)
    uvicorn.run(app, port=port, log_level="error", access_log=False, timeout_graceful_shutdown=1)


def sse_starlette(redis: RedisServer, options: argparse.Namespace) -> Figures:
    return asyncio.run(_of_sse_starlette(redis, options))


async def _of_sse_starlette(redis: RedisServer, options: argparse.Namespace) -> Figures:
    await register(redis)
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=peer, args=(port, redis.address))
    process.start()
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=address) as http:
            for _ in range(600):
                try:
                    await http.get("/nothing")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        assert process.pid
        return await measure(redis, address, _request("/stream", address), process.pid, options)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


def _request(path: str, address: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {address.removeprefix('http://')}\r\n{more}\r\n".encode()


def _processor(pid: int) -> float:
    """Seconds that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _more_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))


async def register(redis: RedisServer) -> None:
    bus = RedisBus(redis.address, load_functions=True)
    await ensure_principal(bus, AGENT)
    now = datetime.now(UTC)
    record = AgentRecord(
        name=AGENT, engine=Engine.SCRIPTED, container=ContainerStatus.RUNNING, container_since=now, created_at=now
    )
    await bus.hash_set(streams.AGENTS, {AGENT: record.model_dump_json()})
    await bus.aclose()


def run(options: argparse.Namespace) -> bool:
    sides: dict[str, Callable[[RedisServer, argparse.Namespace], Figures]] = {
        "hyperhive": hive_dashboard,
        "sse-starlette": sse_starlette,
    }
    found: dict[str, list[Figures]] = {name: [] for name in sides}
    with redis_server() as redis:
        for _ in range(options.rounds):
            for name, side in sides.items():
                figures = side(redis, options)
                found[name].append(figures)
                print(figures.line(name), f" load {os.getloadavg()[0]:.1f}", flush=True)
    ours, theirs = (_middle(found[name]) for name in sides)
    print(
        f"p99 {ours.p99:.1f} ms (aim {AIM_P99_MS:.0f}); delivered {ours.delivered:.1%} against {theirs.delivered:.1%}; "
        f"processor {ours.processor / theirs.processor:.2f} of theirs"
    )
    return ours.p99 <= AIM_P99_MS and ours.delivered > 0.99


def _middle(several: list[Figures]) -> Figures:
    """The median of each figure."""
    rows = [astuple(one) for one in several]
    return Figures(*(statistics.median(column) for column in zip(*rows, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    _more_files()
    return 0 if run(parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
