"""Kills: which process, at which moment, all from the seed; and how long it took until it worked again."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hive_cli.chaos.probes import Probe, Probes
from hive_cli.chaos.stage import ENGINE, HARNESS, Stage, StageFailed

WEIGHTS: Final = {"harness": 7, "engine": 5, "broker": 3, "dashboard": 2, "supervisor": 3, "redis": 3}
"""How often each is hit, in proportion. A hive has many harnesses and one broker."""

AGENTS_OWN: Final = {"harness": HARNESS, "engine": ENGINE}
"""What runs once for each agent, and its module; all else is a service."""

LOOK_S: Final = 0.01
FOUND_WITHIN_S: Final = 30.0
BACK_WITHIN_S: Final = 120.0
LAST_MOMENT: Final = 0.97


@dataclass(frozen=True, slots=True)
class Strike:
    """A kill to come: when this share of the roots is settled. `pick` chooses among agents."""

    moment: float
    kind: str
    pick: float


@dataclass(slots=True)
class Kill:
    """A kill that happened. `asked`: somebody waits for it to work again (not for an engine that had no turn);
    `back_s`: seconds until it did, None while it does not."""

    kind: str
    target: str
    at: float = 0.0
    asked: bool = False
    back_s: float | None = None


def strikes(seed: int, count: int) -> list[Strike]:
    """In order of their moments; each kind at least once when there are enough."""
    rng = random.Random(f"kills {seed}")
    kinds = list(WEIGHTS)[:count]
    kinds += rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=count - len(kinds))
    rng.shuffle(kinds)
    moments = sorted(rng.uniform(0.0, LAST_MOMENT) for _ in kinds)
    return [Strike(moment, kind, rng.random()) for moment, kind in zip(moments, kinds, strict=True)]


class Killer:
    """`run` returns when every strike is done and everything killed works again."""

    def __init__(self, stage: Stage, probes: Probes, agents: Sequence[str]) -> None:
        self._stage = stage
        self._probes = probes
        self._agents = sorted(agents)
        self.kills: list[Kill] = []

    async def run(self, plan: Sequence[Strike], progress: Callable[[], float]) -> None:
        """`progress` is the share of the roots that is settled."""
        async with asyncio.TaskGroup() as group:
            for strike in plan:
                while progress() < strike.moment:  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(LOOK_S)
                target = await self._target(strike)
                probe = await self._probe(strike.kind, target)
                kill = await self._kill(strike.kind, target)
                if probe:
                    group.create_task(_time(kill, probe))

    async def _target(self, strike: Strike) -> str:
        """An agent's name for what runs once per agent, one in a turn if there is one; else the service's."""
        if strike.kind not in AGENTS_OWN:
            return strike.kind
        try:
            async with asyncio.timeout(FOUND_WITHIN_S):
                while not (among := await self._candidates(AGENTS_OWN[strike.kind])):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise StageFailed(f"no agent has a running {strike.kind}") from None
        return among[int(strike.pick * len(among))]

    async def _candidates(self, module: str) -> list[str]:
        busy = await self._probes.thinking(self._agents)
        for among in (busy, self._agents):
            if found := [name for name in among if self._stage.pid_in(name, module)]:
                return found
        return []

    async def _probe(self, kind: str, target: str) -> Probe | None:
        match kind:
            case "harness":
                return await self._probes.harness(target)
            case "engine":
                return await self._probes.engine(target)
            case "broker":
                return self._probes.broker
            case "dashboard":
                return self._probes.dashboard
            case "supervisor":
                return self._probes.supervisor
            case _:
                return self._probes.redis

    async def _kill(self, kind: str, target: str) -> Kill:
        """As soon as it runs: it may be on its way back from the kill before."""
        kill = Kill(kind, target)
        try:
            async with asyncio.timeout(FOUND_WITHIN_S):
                while not _killed(self._pid(kind, target)):  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise StageFailed(f"no {kind} ({target}) came up to be killed within {FOUND_WITHIN_S:.0f} s") from None
        kill.at = time.monotonic()
        self.kills.append(kill)
        return kill

    def _pid(self, kind: str, target: str) -> int | None:
        if kind in AGENTS_OWN:
            return self._stage.pid_in(target, AGENTS_OWN[kind])
        return self._stage.pid_of(kind)


def _killed(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


async def _time(kill: Kill, probe: Probe) -> None:
    """Leaves `back_s` None when it never works again."""
    kill.asked = True
    try:
        async with asyncio.timeout(BACK_WITHIN_S):
            await probe()
    except TimeoutError:
        return
    kill.back_s = time.monotonic() - kill.at
