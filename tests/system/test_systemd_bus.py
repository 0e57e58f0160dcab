"""Units over D-Bus on a real systemd host, from outside of it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from signal import SIGKILL

import pytest
from tests.support.systemd_host import SystemdHost, systemd_host
from tests.support.waiting import until

from hive_contracts.errors import Unavailable
from hive_contracts.ids import new_id
from hive_supervisor.errors import NoSuchUnit, SystemdError, UnitTaken
from hive_supervisor.runtimes.systemd_bus import SystemdBus
from hive_supervisor.runtimes.systemd_units import UnitState

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
BOUND_S = 100


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with systemd_host() as booted:
        yield booted


@pytest.fixture
def unit() -> str:
    return f"t{new_id()}.service"


def shell(script: str) -> dict[str, object]:
    return {"ExecStartEx": [["/bin/sh", ["sh", "-c", script], ["no-env-expand"]]], "RemainAfterExit": True}


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await scenario()

    asyncio.run(bounded())


@asynccontextmanager
async def watched(host: SystemdHost, prefix: str) -> AsyncIterator[tuple[SystemdBus, list[UnitState]]]:
    """A bus, and what its watch said of the units that begin so."""
    bus, seen = SystemdBus(host.bus_address), list[UnitState]()

    async def watch() -> None:
        async for state in bus.changes(prefix):
            seen.append(state)

    task = asyncio.ensure_future(watch())
    try:
        yield bus, seen
    finally:
        task.cancel()
        await asyncio.wait({task})
        await bus.aclose()


async def forget(bus: SystemdBus, unit: str) -> None:
    await bus.kill(unit, SIGKILL)
    await bus.stop(unit)
    await bus.reset_failed(unit)
    assert not (await bus.state(unit)).loaded


def ended(state: UnitState) -> bool:
    return state.has_ended


@pytest.mark.parametrize(
    ("script", "status", "result"),
    [("exit 0", 0, "success"), ("exit 7", 7, "exit-code"), ("kill -KILL $$", 137, "signal")],
)
def test_how_a_unit_ended_is_told_and_can_be_read_until_it_is_forgotten(
    host: SystemdHost, unit: str, script: str, status: int, result: str
) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, seen):
            assert not (await bus.state(unit)).loaded
            assert await bus.start_transient(unit, shell(script)) == "done"
            await bus.until(unit, ended)
            found = (await bus.units(unit))[unit]
            assert (found.exit_status, found.result, found.transient) == (status, result, True)
            await until(lambda: any(map(ended, seen)))
            told = next(filter(ended, seen))
            assert (told.exit_status, told.result, told.invocation) == (status, result, found.invocation)
            await forget(bus, unit)

    run(scenario)


def test_a_name_that_is_taken_is_refused_and_what_has_it_runs_on(host: SystemdHost, unit: str) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, _):
            await bus.start_transient(unit, shell("sleep 600"))
            before = await bus.state(unit)
            with pytest.raises(UnitTaken, match=unit):
                await bus.start_transient(unit, shell("sleep 600"))
            assert (await bus.state(unit)).main_pid == before.main_pid
            await forget(bus, unit)

    run(scenario)


def test_what_systemd_does_not_know_or_take_is_refused_with_its_words(host: SystemdHost, unit: str) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, _):
            with pytest.raises(NoSuchUnit, match="not found"):
                await bus.start(unit)
            with pytest.raises(SystemdError, match="Nonsense"):
                await bus.start_transient(unit, {**shell("true"), "Nonsense": "x"})
            with pytest.raises(SystemdError, match="Invalid unit name"):
                await bus.start_transient("no unit", shell("true"))
            assert not (await bus.state(unit)).loaded

    run(scenario)


def test_another_user_than_root_may_not_manage_units(host: SystemdHost, unit: str) -> None:
    script = f"""
import asyncio
from hive_supervisor.runtimes.systemd_bus import SystemdBus
async def main():
    bus = SystemdBus()
    try:
        await bus.start_transient({unit!r}, {shell("true")!r})
    except Exception as error:
        print(type(error).__name__, error)
    await bus.aclose()
asyncio.run(main())
"""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    said = host.run(*nobody, sys.executable, "-c", script).stdout
    assert said.startswith("NotPermitted systemd refused: ")


def test_a_bus_without_systemd_is_unavailable_and_a_watch_waits_for_it(host: SystemdHost) -> None:
    socket = host.scratch / "bus"
    daemon = host.popen("dbus-daemon", "--session", "--nofork", f"--address=unix:path={socket}")
    bus = SystemdBus(f"unix:path={socket}")

    async def scenario() -> None:
        await until(socket.exists)
        with pytest.raises(Unavailable, match="systemd1 is not on D-Bus"):
            await bus.units("*")
        watch = bus.changes("t")
        coming = asyncio.ensure_future(anext(watch))
        done, _ = await asyncio.wait({coming}, timeout=1)
        assert not done, "it goes on looking"
        coming.cancel()
        await asyncio.wait({coming})

    try:
        run(scenario)
    finally:
        host.run("pkill", "--full", f"address=unix:path={socket}")
        daemon.wait(20)


def test_an_end_while_the_bus_was_away_is_found(host: SystemdHost, unit: str) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, seen):
            await bus.start_transient(unit, shell("sleep 600"))
            await until(lambda: any(state.runs for state in seen))
            host.run("systemctl", "stop", "dbus.socket", "dbus.service")
            host.run("systemctl", "kill", "--signal=KILL", unit)
            host.run("systemctl", "start", "dbus.socket", "dbus.service")
            await until(lambda: any(map(ended, seen)), within_s=40)
            assert next(filter(ended, seen)).exit_status == 137
            await forget(bus, unit)

    run(scenario)


def test_a_unit_that_vanished_while_the_bus_was_away_is_told(host: SystemdHost, unit: str) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, seen):
            await bus.start_transient(unit, shell("sleep 600"))
            await until(lambda: any(state.runs for state in seen))
            host.run("systemctl", "stop", "dbus.socket", "dbus.service")
            host.run("systemctl", "stop", unit)
            host.run("systemctl", "start", "dbus.socket", "dbus.service")
            await until(lambda: not seen[-1].loaded, within_s=40)
            assert not seen[-1].runs

    run(scenario)


@pytest.mark.parametrize("what", ["daemon-reload", "daemon-reexec"])
def test_what_runs_is_not_told_as_gone_when_systemd_reads_its_files_anew(
    host: SystemdHost, unit: str, what: str
) -> None:
    async def scenario() -> None:
        async with watched(host, unit) as (bus, seen):
            await bus.start_transient(unit, shell("sleep 600"))
            await until(lambda: any(state.runs for state in seen))
            began = len(seen)
            host.run("systemctl", what)
            host.run("systemctl", "kill", "--signal=KILL", unit)
            await until(lambda: any(map(ended, seen)), within_s=40)
            told = next(filter(ended, seen))
            assert told.exit_status == 137
            assert all(state.runs or state.has_ended for state in seen[began:])
            await forget(bus, unit)

    run(scenario)
