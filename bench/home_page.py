"""What `/` costs with many agents: the server's time for it, and Chromium's until something is on the screen.

Side by side: with a history of a few messages and with one of `--messages`; the ratio says whether history costs.
Usage: python -m bench.home_page [--agents N] [--messages N] [--rounds N]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Page
from tests.dashboard.opened import Opened, opened
from tests.dashboard.process import dashboard_process, free_port
from tests.dashboard.scene import Scene
from tests.support.chromium import WIDE, chromium
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts.agents import LastTurn, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope
from hive_contracts.messages import Message
from hive_contracts.turns import TurnEnded
from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.events import EventWriter
from hive_runtime.records.messages import MessageWriter
from hive_runtime.redis_bus import RedisBus

LIMIT_MS, PAINT_LIMIT_MS = 50, 500
FEW: Final = 100
BATCH: Final = 5_000
PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def history(data_dir: Path, names: list[str], messages: int) -> None:
    """Messages between agents, with the operator and from the system, all but the newest done with."""
    writer = MessageWriter(data_dir / "broker.sqlite")
    now = datetime.now(UTC)
    for begin in range(0, messages, BATCH):
        batch = [_message(number, names, now) for number in range(begin, min(begin + BATCH, messages))]
        writer.record([(message, round(message.sent_at.timestamp() * 1000)) for message in batch])
    with writer.store.transaction() as db:
        db.execute("UPDATE messages SET state = 'acked' WHERE number <= :most", {"most": messages - 50})
    writer.close()


def _message(number: int, names: list[str], now: datetime) -> Message:
    sender, recipient = names[number % len(names)], names[(number * 7 + 1) % len(names)]
    if number % 10 == 0:
        recipient = "operator"
    at = now - timedelta(seconds=number % 100_000)
    body = f"message {number}: what was looked at, and what is to be done about it"
    ids = {"id": f"m-{number:016}", "trace_id": f"m-{number - number % 3:016}"}
    return Message(**ids, sender=sender, recipient=recipient, body=body, sent_at=at)


def figures(data_dir: Path, names: Iterable[str]) -> None:
    """A turn in each of the last twenty hours."""
    now = datetime.now(UTC)
    for name in names:
        writer = EventWriter(data_dir / "agents" / name / "events.sqlite")
        ends = [
            TurnEnded(turn_id=f"t-{n}", seq=1, outcome=TurnOutcome.OK, messages=(), duration_ms=1) for n in range(20)
        ]
        at = [round((now - timedelta(hours=n)).timestamp() * 1000) for n in range(20)]
        writer.record(
            [(f"{when}-0", Envelope.of(end, source=name)) for end, when in zip(ends, at, strict=True)], position="1-0"
        )
        writer.close()


async def agents(bus: Bus, names: Iterable[str]) -> None:
    scene, now = Scene(bus), datetime.now(UTC)
    last = LastTurn(turn_id="t-0", started=now, ended=now, outcome=TurnOutcome.OK)
    facts = {"last_turn": last, "context_share": 0.4, "context_tokens": 80_000, "cost_day_usd": 1.2}
    for number, name in enumerate(names):
        await scene.agent(name)
        await scene.state(name, TurnState.THINKING if number % 3 else TurnState.IDLE, **facts)


@asynccontextmanager
async def _ready(data_dir: Path, names: list[str], messages: int) -> AsyncIterator[Opened]:
    bus = MemoryBus()
    figures(data_dir, names)
    history(data_dir, names, messages)
    await agents(bus, names)
    async with opened(bus, data_dir, broker=False) as hive:
        await hive.sees_agent(names[-1])
        await hive.sign_in()
        yield hive


async def _take(hive: Opened) -> float:
    began = time.perf_counter()
    answer = await hive.browser.get("/")
    assert answer.status_code == 200
    return (time.perf_counter() - began) * 1000


async def server_ms(names: list[str], messages: int, rounds: int) -> tuple[list[float], list[float]]:
    """Of a short history and of a long one, in turns."""
    few: list[float] = []
    many: list[float] = []
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        async with _ready(Path(one), names, FEW) as short, _ready(Path(other), names, messages) as long:
            for _ in range(rounds + 3):
                few.append(await _take(short))
                many.append(await _take(long))
    return few[3:], many[3:]  # the first ones load templates


def paint_ms(names: list[str], messages: int, rounds: int) -> list[float]:
    """With a dashboard that is a process of its own, on a real Redis."""
    with redis_server() as redis, tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory)
        figures(data_dir, names)
        history(data_dir, names, messages)
        asyncio.run(_on(redis, names))
        with dashboard_process(redis, data_dir, free_port()) as process:
            link = asyncio.run(_link(process.address, data_dir))
            with chromium() as browser:
                page = browser.new_context(viewport=WIDE).new_page()
                page.goto(link)
                return [_paint(page, process.address) for _ in range(rounds)]


async def _on(redis: RedisServer, names: list[str]) -> None:
    bus = RedisBus(redis.address, load_functions=True)
    await agents(bus, names)
    await bus.aclose()


async def _link(address: str, data_dir: Path) -> str:
    async with httpx.AsyncClient(base_url=address, timeout=30) as http:
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
        token = (data_dir / "secrets" / "api-token").read_text().strip()
        answer = await http.post("/api/v1/sign-in-links", headers={"authorization": f"Bearer {token}"})
        return str(answer.json()["url"])


def _paint(page: Page, address: str) -> float:
    page.goto(f"{address}/")
    page.wait_for_function(PAINT)
    return float(page.evaluate(PAINT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    names = ["hm1nd", *(f"agent-{number}" for number in range(1, given.agents))]
    few, many = asyncio.run(server_ms(names, given.messages, given.rounds))
    usual, long = statistics.median(few), statistics.median(many)
    print(f"server, {given.agents} agents: {usual:.1f} ms with {FEW} messages, {long:.1f} ms with {given.messages}")
    print(f"of the limit of {LIMIT_MS} ms: {long / LIMIT_MS:.2f}; long history to short: {long / usual:.2f}")
    painted = paint_ms(names, given.messages, max(3, given.rounds // 2))
    paint = statistics.median(painted)
    worst = max(painted)
    print(f"first paint: {paint:.0f} ms, at worst {worst:.0f}; of {PAINT_LIMIT_MS} ms: {paint / PAINT_LIMIT_MS:.2f}")


if __name__ == "__main__":
    main()
