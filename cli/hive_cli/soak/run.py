"""Steady traffic for some minutes, with failures and restarts; measured when it has settled, and at the end."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hive_cli.chaos.stage import ENGINE, Stage, stage
from hive_cli.chaos.streams import leftovers
from hive_cli.output import print_table, say
from hive_cli.soak.sample import Sample, compared, growth, take
from hive_contracts.errors import HiveError
from hive_contracts.names import MANAGER

SETTLED_AT: Final = 0.4
"""The share of the time after which all that is loaded once is loaded."""

PACE_S: Final = 2.0
"""Between two messages to one agent."""

ENGINE_ENDS_S: Final = 3.0
RESTARTS_S: Final = 10.0
QUIET_S: Final = 60.0
SWEEPS_S: Final = 4.0

BODIES: Final = (
    "!say one and two and three",
    "!bash seq 200",
    "!send {next} !say thank you",
    "!call recv\n!write scratch.txt soak",
    "!fail error",
    "!say a\n!bash false",
    "!crash",
)
"""What the operator writes, in turns. What fails or crashes is given up after two tries."""

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "broker": {"max_attempts": 2} | dict.fromkeys(("sender_per_minute", "pair_per_minute"), 1_000_000),
    "harness": {"retry_first_s": 0.1, "retry_limit_s": 0.2},
    "retention": {
        "first_s": 1,
        "every_s": SWEEPS_S,
        "event_rows": 100,
        "stat_rows": 500,
        "messages_per_recipient": 20,
        "live_entries": 100,
        "control_days": 0.0001,
        "fact_days": 0.0001,
        "dead_days": 0.0001,
    },
}
"""What is old goes soon, so that what stays is what must."""


@dataclass(slots=True)
class Report:
    agents: int
    seconds: float
    sent: int = 0
    engines_ended: int = 0
    restarts: int = 0
    settled: Sample = field(default_factory=Sample)
    end: Sample = field(default_factory=Sample)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems

    def show(self) -> None:
        say(f"{self.agents} agents, {self.seconds:.0f} s, {self.sent} messages of the operator;")
        say(f"{self.engines_ended} engines killed, {self.restarts} agents restarted\n")
        rows = [(what, *(f"{number:.1f}" for number in numbers)) for what, *numbers in compared(self.settled, self.end)]
        print_table(("WHAT", "SETTLED", "AT THE END", "MAY GROW BY"), rows)
        for problem in self.problems:
            say(f"\n{problem}")
        say(f"\n{'passed' if self.passed else 'FAILED'}")

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}


async def run(agents: int, seconds: float, tell: Callable[[str], None], *, keep: list[Path]) -> Report:
    """`keep` gets the directory of a run that found something."""
    names = [MANAGER, *(f"bee-{number:02}" for number in range(1, agents))]
    report = Report(agents, seconds)
    async with stage(SETTINGS, keep=keep) as hive:
        tell(f"a hive in {hive.data.root}; making {agents} agents")
        for name in names[1:]:
            await asyncio.to_thread(hive.api().post, "/api/v1/agents", {"name": name, "engine": "scripted"})
        await _traffic(hive, names, seconds * SETTLED_AT, report)
        report.settled = await _measure(hive, names, report)
        tell("settled and measured; going on")
        await _traffic(hive, names, seconds * (1 - SETTLED_AT), report)
        report.end = await _measure(hive, names, report)
        report.problems += growth(report.settled, report.end)
        if not report.passed:
            keep.append(hive.data.root)
    return report


async def _traffic(hive: Stage, names: list[str], seconds: float, report: Report) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for number, name in enumerate(names):
                following = names[(number + 1) % len(names)]
                group.create_task(_write(hive, name, following, report, itertools.cycle(BODIES)))
            group.create_task(_end_engines(hive, names, report))
            group.create_task(_restart(hive, names, report))


async def _write(hive: Stage, name: str, following: str, report: Report, bodies: "itertools.cycle[str]") -> None:
    for body in bodies:
        with suppress(HiveError):
            message = {"to": name, "body": body.format(next=following)}
            await asyncio.to_thread(hive.api().post, "/api/v1/messages", message)
            report.sent += 1
        await asyncio.sleep(PACE_S)


async def _end_engines(hive: Stage, names: list[str], report: Report) -> None:
    for name in itertools.cycle(names):
        await asyncio.sleep(ENGINE_ENDS_S)
        if pid := await asyncio.to_thread(hive.pid_in, name, ENGINE):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                report.engines_ended += 1


async def _restart(hive: Stage, names: list[str], report: Report) -> None:
    for name in itertools.cycle(reversed(names)):
        await asyncio.sleep(RESTARTS_S)
        with suppress(HiveError):
            await asyncio.to_thread(hive.api().post, f"/api/v1/agents/{name}/restart")
            report.restarts += 1


async def _measure(hive: Stage, names: list[str], report: Report) -> Sample:
    """When nothing is under way, every agent has a warm engine, and what is old was swept."""
    await _quiet(hive, names, report)
    for name in names:
        await asyncio.to_thread(hive.api().post, "/api/v1/messages", {"to": name, "body": "!say and now"})
    await _quiet(hive, names, report)
    await asyncio.to_thread(hive.api().post, "/api/v1/retention", {"dry_run": False})
    return await take(hive, names, sent=report.sent)


async def _quiet(hive: Stage, names: list[str], report: Report) -> None:
    """Every message to an agent is done with. The operator's own inbox is read by nobody here."""
    left: list[str] = ["nothing was looked at"]
    deadline = time.monotonic() + QUIET_S
    while left and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        found = await leftovers(hive.redis(), names)
        left = [line for line in found if any(f"{{{name}}}" in line for name in names)]
    report.problems += [f"not done after {QUIET_S:.0f} s: {line}" for line in left]
