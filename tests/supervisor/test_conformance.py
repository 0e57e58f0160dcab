"""The conformance suite of `ContainerRuntime`: every back-end behaves like this. Real containers but for the twin."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL

import pytest
from tests.support.back_ends import BACK_ENDS, BackEnd
from tests.support.waiting import eventually

from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes.base import REBOOT, ContainerExit, ContainerRuntime, ContainerSpec, Usage

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

Scenario = Callable[[], Awaitable[None]]
BOUND_S = 120


@pytest.fixture(params=list(BACK_ENDS))
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackEnd]:
    found = BACK_ENDS[request.param](tmp_path, request.getfixturevalue)
    try:
        yield found
    finally:
        found.clean_up()


class Ends:
    """What `watch` said, from the first `list` on."""

    def __init__(self) -> None:
        self.seen: list[ContainerExit] = []

    async def of(self, name: str, count: int = 1) -> list[ContainerExit]:
        """Once `count` ends of `name` were told; more are a failure."""
        await eventually(lambda: _true(len(self._all(name)) >= count), within_s=30)
        assert len(self._all(name)) == count
        return self._all(name)

    def _all(self, name: str) -> list[ContainerExit]:
        return [one for one in self.seen if one.name == name]


async def _true(found: bool) -> bool:  # noqa: FBT001 - a condition's value
    return found


@asynccontextmanager
async def running(back_end: BackEnd) -> AsyncIterator[tuple[ContainerRuntime, Ends]]:
    """A new runtime object, watched."""
    runtime, ends = back_end.runtime(), Ends()

    async def watch() -> None:
        async for end in runtime.watch():
            ends.seen.append(end)

    await runtime.list()
    task = asyncio.ensure_future(watch())
    try:
        yield runtime, ends
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await runtime.aclose()


@asynccontextmanager
async def removed_at_the_end(back_end: BackEnd, *names: str) -> AsyncIterator[None]:
    try:
        yield
    finally:
        runtime = back_end.runtime()
        for name in names:
            await runtime.remove(name)
        assert not set(names) & set(await runtime.list())
        await runtime.aclose()


def run(scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await scenario()

    asyncio.run(bounded())


async def up(runtime: ContainerRuntime, spec: ContainerSpec) -> None:
    """Create and start; returns once its program says that it runs."""
    await runtime.create(spec)
    await runtime.start(spec.name)
    await said(runtime, spec.name, f"started {spec.environment.get('TOKEN', '')}".rstrip())


async def said(runtime: ContainerRuntime, name: str, line: str) -> None:
    async def found() -> bool:
        return line in [each.rstrip() for each in await runtime.logs(name, 20)]

    await eventually(found, within_s=30)


async def runs(runtime: ContainerRuntime, name: str) -> bool:
    found = (await runtime.list()).get(name)
    return found is not None and found.running


def test_it_runs_from_start_to_stop_and_each_step_may_be_repeated(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            ada = back_end.spec("ada", TOKEN="1")
            assert await runtime.list() == {}
            await runtime.create(ada)
            await runtime.create(ada)
            made = (await runtime.list())["ada"]
            assert (made.name, made.running, made.exit) == ("ada", False, None)
            await up(runtime, ada)
            await runtime.start("ada")
            now = (await runtime.list())["ada"]
            assert now.running
            assert now.since
            assert abs(datetime.now(UTC) - now.since) < timedelta(minutes=2)
            await runtime.create(ada)
            assert await runs(runtime, "ada"), "one that runs stays as it is"
            await runtime.stop("ada", grace_s=20)
            await runtime.stop("ada", grace_s=20)
            assert [end.status for end in await ends.of("ada")] == [0]
            ended = (await runtime.list())["ada"]
            assert not ended.running
            assert ended.exit
            assert ended.exit.status == 0
            await runtime.remove("ada")
            await runtime.remove("ada")
            assert await runtime.list() == {}

    run(scenario)


def test_what_is_not_there_cannot_be_started_and_need_not_be_ended(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with running(back_end) as (runtime, ends):
            with pytest.raises(CannotStart):
                await runtime.start("nobody")
            await runtime.stop("nobody", grace_s=1)
            await runtime.kill("nobody")
            await runtime.remove("nobody")
            assert await runtime.logs("nobody", 5) == ()
            assert await runtime.usage("nobody") == Usage()
            with pytest.raises(CannotStart):
                await runtime.exec("nobody", ["true"])
            assert ends.seen == []
            assert await runtime.list() == {}

    run(scenario)


def test_it_starts_again_after_it_ended(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            for number in (1, 2, 3):
                await up(runtime, back_end.spec("ada", TOKEN=str(number)))
                assert (await runtime.list())["ada"].exit is None
                await runtime.stop("ada", grace_s=20)
                await ends.of("ada", count=number)

    run(scenario)


def test_containers_do_not_know_each_other(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada", "lin"), running(back_end) as (runtime, ends):
            await asyncio.gather(*(up(runtime, back_end.spec(name, TOKEN=name)) for name in ("ada", "lin")))
            await runtime.remove("ada")
            assert set(await runtime.list()) == {"lin"}
            assert await runs(runtime, "lin")
            await runtime.stop("lin", grace_s=20)
            assert (await ends.of("lin"))[0].status == 0

    run(scenario)


@pytest.mark.parametrize("status", [0, 7, REBOOT])
def test_an_end_that_nobody_asked_for_is_told_once_with_its_status(back_end: BackEnd, status: int) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            await runtime.create(back_end.spec("ada", EXIT=str(status)))
            await runtime.start("ada")
            end = (await ends.of("ada"))[0]
            assert (end.status, end.signal, end.oom) == (status, None, False)
            assert end.is_reboot == (status == REBOOT)
            assert end.uptime_s >= 0
            assert not await runs(runtime, "ada")

    run(scenario)


def test_a_killed_container_ends_by_that_signal(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            await up(runtime, back_end.spec("ada"))
            await runtime.kill("ada")
            end = (await ends.of("ada"))[0]
            assert (end.status, end.signal) == (128 + SIGKILL, SIGKILL)
            await runtime.kill("ada")
            assert not await runs(runtime, "ada")

    run(scenario)


def test_one_that_does_not_stop_is_killed_after_its_grace(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            await up(runtime, back_end.spec("ada", STUBBORN="1"))
            await runtime.stop("ada", grace_s=0.2)
            assert (await ends.of("ada"))[0].signal == SIGKILL
            assert not await runs(runtime, "ada")

    run(scenario)


def test_a_new_runtime_finds_what_an_earlier_one_started_and_watches_it(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"):
            async with running(back_end) as (earlier, _):
                await up(earlier, back_end.spec("ada"))
                since = (await earlier.list())["ada"].since
            async with running(back_end) as (later, ends):
                found = (await later.list())["ada"]
                assert found.running
                assert found.since == since
                await later.start("ada")
                await later.kill("ada")
                assert (await ends.of("ada"))[0].signal == SIGKILL

    run(scenario)


def test_an_end_while_no_runtime_was_there_is_found(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"):
            async with running(back_end) as (earlier, _):
                await up(earlier, back_end.spec("ada"))
            unwatched = back_end.runtime()
            await unwatched.kill("ada")
            await unwatched.aclose()
            async with running(back_end) as (later, ends):
                found = (await later.list())["ada"]
                assert not found.running
                assert found.exit
                assert found.exit.signal == SIGKILL
                await later.start("ada")
                await later.kill("ada")
                await ends.of("ada")

    run(scenario)


def test_a_command_runs_inside_and_its_end_is_told(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, _):
            await up(runtime, back_end.spec("ada"))
            done = await runtime.exec("ada", ["echo", "hello", "there"])
            assert (done.status, done.output) == (0, "hello there\n")
            assert (await runtime.exec("ada", ["false"])).status != 0
            assert await runs(runtime, "ada")

    run(scenario)


def test_what_it_takes_is_known_while_it_runs(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, _):
            await up(runtime, back_end.spec("ada"))
            usage = await runtime.usage("ada")
            assert usage.memory_bytes is None or usage.memory_bytes > 0
            assert usage.cpu_s is None or usage.cpu_s >= 0
            assert usage.pids is None or usage.pids >= 1
            await runtime.stop("ada", grace_s=20)
            assert await runtime.usage("ada") == Usage()

    run(scenario)


def test_its_last_lines_stay_when_it_ended(back_end: BackEnd) -> None:
    async def scenario() -> None:
        async with removed_at_the_end(back_end, "ada"), running(back_end) as (runtime, ends):
            await runtime.create(back_end.spec("ada", TOKEN="last words", EXIT="3"))
            await runtime.start("ada")
            await ends.of("ada")
            await said(runtime, "ada", "started last words")
            assert len(await runtime.logs("ada", 1)) == 1

    run(scenario)
