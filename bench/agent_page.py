"""What an agent's page costs with a long history, in a real Chromium, beside the same page with a short one.

    python -m bench.agent_page            1,000 and 100,000 events, three rounds
    python -m bench.agent_page --rounds 1 --events 20000

Two agents of one hive: one has 1,000 recorded events, the other 100,000 (turns of ten: Markdown, edits and commands).
Each round opens the page of either, by turns, and scrolls back through ten parts of its history.

- *server*: the whole answer to `/agents/<name>`, asked for ten times, the median.
- *paint*: first contentful paint, by the browser's own clock from the start of the navigation.
- *part*: the answer to one further part of the history, the median of ten.
- *long tasks*: those over 50 ms that the browser's main thread had while it scrolled back (PerformanceObserver).

On a machine that does other work too, look at the ratios: the two pages are asked for by turns.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import Browser, Page, async_playwright
from tests.browser.stage import ARGUMENTS, CHROMIUM, WIDE
from tests.dashboard.process import DashboardProcess, dashboard_process, free_port
from tests.dashboard.scene import Scene
from tests.support.redis_server import redis_server

from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnEnded, TurnEvent, TurnStarted, TurnText, TurnToolCall, TurnToolResult, Usage
from hive_runtime.records.events import EventWriter
from hive_runtime.redis_bus import RedisBus

SHORT: Final = 1_000
TURN_EVENTS: Final = 10
ASKED: Final = 10
PARTS: Final = 10
BATCH: Final = 5_000
CODE: Final = Path(__file__).read_text()

MARKDOWN: Final = """## What I found

The build fails in `feed.py`: **`Feed`** was renamed. I

1. rename the import
2. run the tests

| file | tests |
|:-----|------:|
| feed.py | 12 |
"""

LONG_TASKS: Final = """() => {
  window.longTasks = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
  }).observe({ type: "longtask", buffered: false });
}"""
PAINT: Final = """async () => {
  for (;;) {
    const [entry] = performance.getEntriesByName("first-contentful-paint");
    if (entry) return entry.startTime;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}"""
SCROLL: Final = """async (articles) => {
  const log = document.getElementById("turns");
  const count = () => log.querySelectorAll(":scope > article").length;
  const before = count();
  const deadline = performance.now() + 20000;
  while (count() === before && performance.now() < deadline) {
    log.scrollTop = Math.max(0, log.scrollTop - 600);
    await new Promise(requestAnimationFrame);
  }
  return count() > before;
}"""


@dataclass(slots=True)
class Figures:
    """In milliseconds, of one agent."""

    server: list[float] = field(default_factory=list)
    paint: list[float] = field(default_factory=list)
    part: list[float] = field(default_factory=list)
    long_tasks: list[int] = field(default_factory=list)
    parts: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with redis_server() as redis, tempfile.TemporaryDirectory(prefix="hive-bench-") as directory:
        data_dir = Path(directory)
        with dashboard_process(redis, data_dir, free_port()) as process:
            agents = {"short": SHORT, "long": options.events}
            for name, number in agents.items():
                fill(data_dir, name, number)
            found = asyncio.run(measure(process, RedisBus(redis.address, load_functions=True), agents, options.rounds))
    report(found, agents)


def fill(data_dir: Path, name: str, number: int) -> None:
    """Some days of work, the same words in the same order for each agent."""
    source = random.Random(7)
    first = round((time.time() - 86_400) * 1000)
    with closing(EventWriter(data_dir / "agents" / name / "events.sqlite")) as writer:
        told: list[tuple[str, Envelope]] = []
        for index in range(number):
            turn, seq = divmod(index, TURN_EVENTS)
            told.append((f"{first + index}-0", Envelope.of(event(source, f"turn-{turn}", seq), source=name)))
            if len(told) == BATCH or index == number - 1:
                writer.record(told, position=told[-1][0])
                told = []


def event(source: random.Random, turn: str, seq: int) -> TurnEvent:
    about: dict[str, Any] = {"turn_id": turn, "seq": seq}
    if seq == 0:
        return TurnStarted(**about, sender="operator", prompt=f"Look at {turn}, please.", engine="claude", model="opus")
    if seq == TURN_EVENTS - 1:
        return TurnEnded(**about, outcome="ok", duration_ms=42_000, cost_usd=0.03, usage=Usage(input=900, output=400))
    kind = source.random()
    if kind < 0.35:
        return TurnText(
            **about, text=source.choice([MARKDOWN, "I look at it first.", "Now the `tests`, **then** done."])
        )
    if kind < 0.5:
        start = source.randrange(len(CODE) - 700)
        old = CODE[start : start + 600]
        edit = {"file_path": "/state/feed.py", "old_string": old, "new_string": old.replace("self", "that")}
        return TurnToolCall(**about, call_id=f"{turn}-{seq}", name="Edit", input=edit)
    if kind < 0.7:
        return TurnToolCall(**about, call_id=f"{turn}-{seq}", name="Bash", input={"command": "pytest -q | tail -20"})
    return TurnToolResult(**about, call_id=f"{turn}-{seq - 1}", text="line of output\n" * source.randrange(1, 30))


async def measure(process: DashboardProcess, bus: RedisBus, agents: dict[str, int], rounds: int) -> dict[str, Figures]:
    scene, found = Scene(bus), {name: Figures() for name in agents}
    async with httpx.AsyncClient(base_url=process.address) as anyone:
        await process.answers(anyone, "/healthz", 200)
    headers = {"authorization": f"Bearer {process.api_token}"}
    async with (
        httpx.AsyncClient(base_url=process.address, headers=headers, timeout=60) as http,
        async_playwright() as playwright,
    ):
        await process.answers(http, "/readyz", 200)
        for name in agents:
            await scene.agent(name)
            await scene.state(name)
        await http.get(await link(http))
        for name in agents:
            await process.answers(http, f"/agents/{name}", 200)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for _ in range(rounds):
            await ask(http, found)
            for name, figures in found.items():
                await look(browser, process.address, await link(http), name, figures)
        await browser.close()
    await bus.aclose()
    return found


async def link(http: httpx.AsyncClient) -> str:
    return str((await http.post("/api/v1/sign-in-links")).json()["url"])


async def ask(http: httpx.AsyncClient, found: dict[str, Figures]) -> None:
    for _ in range(ASKED):
        for name, figures in found.items():
            figures.server.append(await answer_ms(http, f"/agents/{name}"))
    for name, figures in found.items():
        events = (await http.get(f"/api/v1/agents/{name}/events?limit=300")).json()["events"]
        for _ in range(ASKED):
            figures.part.append(await answer_ms(http, f"/agents/{name}/turns?before={events[0]['id']}"))


async def answer_ms(http: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    answer = await http.get(path)
    answer.raise_for_status()
    return (time.perf_counter() - began) * 1000


async def look(browser: Browser, address: str, sign_in: str, name: str, figures: Figures) -> None:
    context = await browser.new_context(viewport=WIDE)
    page: Page = await context.new_page()
    await page.goto(sign_in)
    await page.goto(f"{address}/agents/{name}")
    figures.paint.append(float(await page.evaluate(PAINT)))
    await page.evaluate(LONG_TASKS)
    for _ in range(PARTS):
        if not await page.evaluate(SCROLL):
            break
        figures.parts += 1
    figures.long_tasks += await page.evaluate("window.longTasks")
    await context.close()


def report(found: dict[str, Figures], agents: dict[str, int]) -> None:
    load = os.getloadavg()[0]
    print(f"load {load:.1f}")
    for name, figures in found.items():
        print(
            f"{agents[name]:>7} events  server {statistics.median(figures.server):6.1f} ms   paint "
            f"{statistics.median(figures.paint):6.0f} ms   part {statistics.median(figures.part):6.1f} ms   "
            f"{figures.parts} parts, long tasks {sorted(figures.long_tasks, reverse=True)[:8]}"
        )
    short, long = found["short"], found["long"]
    for what in ("server", "paint", "part"):
        ratio = statistics.median(getattr(long, what)) / statistics.median(getattr(short, what))
        print(f"{what:>7}: long / short {ratio:.2f}")


if __name__ == "__main__":
    main()
