"""A keeper's patience: pauses grow between crashes, and a wish ends a pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.waiting import until

from hive_contracts.agents import ContainerCrashed, ContainerStatus, Desired, OperationProgressed
from hive_contracts.envelope import Payload
from hive_contracts.models import RestartPolicy
from hive_supervisor.keeper import USEFUL_RESTART_S, Keeper
from hive_supervisor.life import Life, Throttle
from hive_supervisor.runtimes.base import Container, ContainerSpec
from hive_supervisor.runtimes.memory import MemoryRuntime
from hive_supervisor.slots import Slots
from hive_supervisor.versions import check_harness

MANY = Throttle(tries=100, crashes=100, window_s=1800)


class CrashingRuntime(MemoryRuntime):
    """Each container ends as soon as it was started."""

    async def start(self, name: str) -> None:
        await super().start(name)
        self.crash(name, status=1)


class Host:
    def __init__(self) -> None:
        self.told: list[Payload] = []

    async def prepare(self, name: str) -> ContainerSpec:
        return ContainerSpec(name, Path("state"), Path("run"), Path("log"))

    async def ready(self, name: str) -> None:
        await asyncio.Event().wait()

    async def misfits(self, name: str) -> bool:
        return False

    async def version(self, name: str) -> dict[str, str]:
        return {"hyperhive": "1"}

    async def tell(self, payload: Payload, subject: str, *, fact_id: str = "") -> None:
        self.told.append(payload)

    def policy(self, name: str) -> RestartPolicy:
        return RestartPolicy.MANAGER

    def keep(self, name: str, life: Life) -> None:
        self.life = life

    async def changed(self, name: str) -> None:
        return None


class ReadyHost(Host):
    async def ready(self, name: str) -> None:
        return None


@asynccontextmanager
async def at_work(keeper: Keeper, runtime: MemoryRuntime) -> AsyncIterator[None]:
    """It keeps its container, and hears of its ends."""

    async def watch() -> None:
        async for exit_ in runtime.watch():
            keeper.ended(exit_)

    tasks = [asyncio.ensure_future(keeper.run(grace_s=1, start_timeout_s=5)), asyncio.ensure_future(watch())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_container_that_always_crashes_is_not_started_in_a_loop() -> None:
    async def scenario() -> None:
        runtime, host = CrashingRuntime(), Host()
        keeper = Keeper("ada", Desired.RUNNING, life=Life(), throttle=MANY, slots=Slots(1), runtime=runtime, host=host)

        async with at_work(keeper, runtime):
            await until(lambda: keeper.restarts == 2)
            for _ in range(20):
                await asyncio.sleep(0)
            assert keeper.status is ContainerStatus.CRASHED
            assert len(runtime.started) == 2
            assert {type(payload) for payload in host.told} == {ContainerCrashed, OperationProgressed}
            keeper.want(Desired.STOPPED)
            await keeper.settled()
            await until(lambda: keeper.status is ContainerStatus.STOPPED)
            assert len(runtime.started) == 2

    asyncio.run(scenario())


def test_a_harness_of_another_age_is_refused_with_a_sentence() -> None:
    class OldHost(Host):
        async def ready(self, name: str) -> None:
            check_harness(name, "99.0.0")

    async def scenario() -> None:
        runtime, host = MemoryRuntime(), OldHost()
        once = Throttle(tries=1, crashes=1, window_s=1800)
        keeper = Keeper("ada", Desired.RUNNING, life=Life(), throttle=once, slots=Slots(1), runtime=runtime, host=host)

        async with at_work(keeper, runtime):
            await until(lambda: keeper.status is ContainerStatus.QUARANTINED)
            assert "the harness in the container of ada is hyperhive 99.0.0" in keeper.detail
            assert "hive image build" in keeper.detail

    asyncio.run(scenario())


def test_a_harness_of_another_age_that_an_earlier_supervisor_left_is_started_anew() -> None:
    class NewHost(Host):
        fits = False

        async def misfits(self, name: str) -> bool:
            return not self.fits

        async def ready(self, name: str) -> None:
            self.fits = True

    async def scenario() -> None:
        runtime, host = MemoryRuntime(), NewHost()
        await runtime.create(await host.prepare("ada"))
        await runtime.start("ada")
        life = Life().starting({})
        keeper = Keeper("ada", Desired.RUNNING, life=life, throttle=MANY, slots=Slots(1), runtime=runtime, host=host)

        async with at_work(keeper, runtime):
            await until(lambda: host.fits and keeper.status is ContainerStatus.RUNNING)
            assert len(runtime.started) == 2
            assert not any(isinstance(payload, ContainerCrashed) for payload in host.told)

    asyncio.run(scenario())


def test_a_restart_that_is_asked_for_before_the_supervisor_has_looked_is_done() -> None:
    class SlowRuntime(MemoryRuntime):
        may = asyncio.Event()

        async def list(self) -> dict[str, Container]:
            await self.may.wait()
            return await super().list()

    async def scenario() -> None:
        runtime, host = SlowRuntime(), ReadyHost()
        await runtime.create(await host.prepare("ada"))
        await runtime.start("ada")
        life = Life().starting({})
        keeper = Keeper("ada", Desired.RUNNING, life=life, throttle=MANY, slots=Slots(1), runtime=runtime, host=host)

        async with at_work(keeper, runtime):
            await asyncio.sleep(0)
            keeper.want(Desired.RUNNING, restart="restart")
            runtime.may.set()
            async with asyncio.timeout(20):
                await keeper.settled()
            assert len(runtime.started) == 2

    asyncio.run(scenario())


def test_a_container_that_had_come_up_waits_for_two_seconds_at_most() -> None:
    """However often it crashed: the message that it was at work on waits for it."""
    waits: list[float] = []

    class Observed(Keeper):
        async def _wait(self, seconds: float | None) -> None:
            if self.status is ContainerStatus.CRASHED and seconds is not None:
                waits.append(seconds)
                return
            await super()._wait(seconds)

    async def scenario() -> None:
        runtime, host = MemoryRuntime(), ReadyHost()
        keeper = Observed(
            "ada", Desired.RUNNING, life=Life(), throttle=MANY, slots=Slots(1), runtime=runtime, host=host
        )

        async with at_work(keeper, runtime):
            for number in range(1, 12):
                await until(lambda: keeper.status is ContainerStatus.RUNNING)
                runtime.crash("ada", status=1)
                await until(lambda number=number: keeper.restarts == number)  # type: ignore[misc]

    asyncio.run(scenario())
    assert len(waits) >= 9  # the first restart came at once
    assert max(waits) == USEFUL_RESTART_S
