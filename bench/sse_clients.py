"""Many open pages while much happens: from an entry's XADD in Redis until a page's socket has its event.

Each entry of an agent's live stream carries the time at which it was written. The dashboard is its own process, as the
hive starts it; pages are connections of one other process, which reads the time out of what a part of them gets and
counts the bytes of the others, as pages elsewhere would cost these cores nothing. One more page never reads a byte.
Beside it, in the same run and in turns, a server with sse-starlette: one reader as well, and a queue a client, from
which it encodes each event for itself.

Delivered: events that came of those due, resets apart, which are counted: a page that gets one renders anew.

Usage: python -m bench.sse_clients [--clients N] [--rate N] [--seconds S] [--rounds N]
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import resource
import selectors
import socket
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
"""Of so many pages one is read event by event; of the others bytes are counted."""

STREAM_LENGTH: Final = 20_000
AIM_P99_MS: Final = 100.0
FILES: Final = 16_384
SETTLE_S: Final = 1.0
GRACE_S: Final = 3.0
ROOM: Final = 1024 * 1024
RESET: Final = b"event: reset"
TAIL: Final = 200
"""After a `reset` no event follows: it stands in the last bytes that came."""

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


class Page:
    """A client of a stream of events, as cheap as can be: it shares the server's cores."""

    def __init__(self, address: tuple[str, int], request: bytes, *, reads: bool) -> None:
        self.socket = socket.create_connection(address)
        self.socket.sendall(request)
        self.socket.setblocking(False)
        self.reads = reads
        self.length = self.events = 0
        self.tail = b""
        self.late: list[float] = []

    def take(self, room: memoryview) -> bool:
        """What is there; whether more may come."""
        length = self.socket.recv_into(room)
        now = time.time_ns()
        self.length += length
        self.tail += room[:length] if self.reads else room[max(0, length - TAIL) : length]
        if self.reads:
            found = re.findall(rb"@t(\d{19})", self.tail)
            self.events += len(found)
            self.late += [(now - int(one)) / 1e6 for one in found]
            self.tail = self.tail.rpartition(found[-1])[2] if found else self.tail
        self.tail = self.tail[-TAIL:]
        return length > 0


def pages(address: str, request: bytes, clients: int, told: Any, stop: Any) -> None:
    """The process that holds all pages: says when they are open, and after `stop` what they got."""
    _more_files()
    host, port = address.removeprefix("http://").split(":")
    opened = [Page((host, int(port)), request, reads=number % READ_FULLY == 0) for number in range(clients)]
    with selectors.EpollSelector() as selector, socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(request)
        for page in opened:
            selector.register(page.socket, selectors.EVENT_READ, page)
        settled = time.monotonic() + SETTLE_S
        _read(selector, until=lambda: time.monotonic() > settled)
        told.put("open")
        before = [page.length for page in opened]
        _read(selector, until=stop.is_set)
    late = sorted(ms for page in opened for ms in page.late)
    lengths = [page.length - length for page, length in zip(opened, before, strict=True)]
    read = [(length, page.events) for length, page in zip(lengths, opened, strict=True) if page.reads]
    bytes_read, events_read = (sum(column) for column in zip(*read, strict=True))
    events = sum(lengths) * events_read / max(1, bytes_read)
    told.put((events, sum(RESET in page.tail for page in opened), late))


def _read(selector: selectors.BaseSelector, *, until: Callable[[], bool]) -> None:
    room = memoryview(bytearray(ROOM))
    while not until():
        for key, _ in selector.select(timeout=0.1):
            if not key.data.take(room):
                selector.unregister(key.fileobj)


async def measure(redis: RedisServer, address: str, request: bytes, pid: int, options: argparse.Namespace) -> Figures:
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    stop = context.Event()
    holder = context.Process(target=pages, args=(address, request, options.clients, told, stop))
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
    for _ in range(options.rounds):
        for name, side in sides.items():
            with redis_server() as redis:
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
