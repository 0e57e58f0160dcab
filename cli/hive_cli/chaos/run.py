"""One chaos run: start, send while killing, drain, stop, judge."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hive_cli.chaos import oracle, plan, report
from hive_cli.chaos.driver import Driver
from hive_cli.chaos.killer import Killer, strikes
from hive_cli.chaos.probes import Probes
from hive_cli.chaos.stage import Stage, running, stage, stop
from hive_cli.chaos.streams import leftovers
from hive_contracts.errors import Unavailable
from hive_contracts.names import MANAGER
from hive_runtime.records.messages import MessageReader
from hive_runtime.redis_bus import RedisBus

LOOK_S: Final = 0.5
STUCK_S: Final = 60.0
"""A drain in which nothing has moved for so long is over."""


@dataclass(frozen=True, slots=True)
class Options:
    seed: int
    messages: int
    kills: int
    agents: int
    appendfsync: str = "everysec"
    keep: bool = False


def settings(options: Options) -> Mapping[str, Mapping[str, Any]]:
    """The hive's. What it may forget is kept for the oracle, and no limit stands in the way of the traffic."""
    everything = 10 * options.messages + 10_000
    unlimited = dict.fromkeys(("sender_per_minute", "pair_per_minute", "inbox_soft", "inbox_hard"), 1_000_000)
    return {
        "broker": unlimited,
        "redis": {"appendfsync": options.appendfsync},
        "retention": {"event_rows": 20 * everything, "messages_per_recipient": everything},
        "harness": {"send_wait_s": 60},
    }


async def run(options: Options, say: Callable[[str], None], *, keep: list[Path]) -> report.Report:
    """`keep` gets the directory of a run that found something, or is asked to keep it; it then stays."""
    agents = [MANAGER, *(f"bee-{number:02}" for number in range(1, options.agents))]
    forest = plan.make(options.seed, agents, options.messages)
    async with stage(settings(options), keep=keep) as hive:
        driver = Driver(hive, forest, seed=options.seed, threads=options.agents + 4)
        try:
            say(f"a hive in {hive.data.root}; making {options.agents} agents")
            await driver.spawn(agents[1:])
            began = time.monotonic()
            also, kills = await _storm(options, hive, driver, agents, say)
            seconds = time.monotonic() - began
        finally:
            driver.close()
        also["processes left"] = await _end(hive)
        evidence = oracle.gather(hive.data.root, agents)
        also["damaged stores"] = oracle.damaged(hive.data.root)
        found = report.make(
            seed=options.seed,
            agents=len(agents),
            seconds=seconds,
            plan=forest,
            ledger=driver.ledger,
            kills=kills.kills,
            evidence=evidence,
            verdict=oracle.judge(forest, driver.ledger, evidence),
            also=also,
        )
        if options.keep or not found.passed:
            keep.append(hive.data.root)
        return found


async def _storm(
    options: Options, hive: Stage, driver: Driver, agents: list[str], say: Callable[[str], None]
) -> tuple[dict[str, list[str]], Killer]:
    """Send and kill, then drain. What was found besides, and the kills."""
    async with aclosing(RedisBus(hive.redis())) as bus:
        killer = Killer(hive, Probes(hive, bus), agents)
        helpers = [
            asyncio.ensure_future(work) for work in (driver.watch(), driver.read_all(), _tell(driver, killer, say))
        ]
        try:
            await _together(driver.send_all(), killer.run(strikes(options.seed, options.kills), driver.progress))
            say("all sent, all killed; draining")
            left = await _drain(hive, agents)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
    never = [f"{kill.kind} ({kill.target})" for kill in killer.kills if kill.asked and kill.back_s is None]
    return {"leftovers": left, "never came back": never}, killer


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """All at once; the first error ends all, and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from errors


async def _drain(hive: Stage, agents: list[str]) -> list[str]:
    """Wait while anything moves. What the streams hold in the end."""
    messages = MessageReader(hive.data.root / "broker.sqlite")
    seen: Any = None
    since = time.monotonic()
    while True:
        try:
            left = await leftovers(hive.redis(), agents)
            unread = messages.unread()
        except Unavailable as error:
            left, unread = [str(error)], {"?": 1}
        if not left and not sum(unread.values()):
            return []
        if (left, unread) != seen:
            seen, since = (left, unread), time.monotonic()
        if time.monotonic() - since > STUCK_S:
            return left
        await asyncio.sleep(LOOK_S)


async def _tell(driver: Driver, killer: Killer, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(10)
        say(f"{driver.progress():.0%} of the operator's messages accepted, {len(killer.kills)} kills")


async def _end(hive: Stage) -> list[str]:
    """Stop it as its user does; what did not stop."""
    started = hive.processes()
    status = await asyncio.to_thread(stop, hive.process)
    left = [f"process {pid}" for pid in running(started)]
    return left + ([f"`hive up` ended with status {status}"] if status else [])
