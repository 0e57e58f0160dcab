"""The nixos back-end with real `container@` units, of a template like NixOS's.

In place of `nixos-container`, which only NixOS has, a definer that writes the same file."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Final

import pytest
from tests.support.back_ends import SCRIPT, spec_in
from tests.support.nspawn_host import agent_root
from tests.support.waiting import eventually, until

from hive_runtime.checkup import State, examine
from hive_runtime.hive_id import hive_id
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.doctor.registry import CHECKS
from hive_supervisor.doctor.site import Site
from hive_supervisor.errors import CannotStart
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.runtimes.base import ContainerExit, ContainerSpec, Limits, User
from hive_supervisor.runtimes.nixos import NixosRuntime
from hive_supervisor.runtimes.nixos_container import flags

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

CONFIG: Final = Path("/run/containers-of-the-test")
TEMPLATE: Final = Path("/run/systemd/system/container@.service")
UNIT: Final = "container@ada.service"
FLAKE: Final = "/etc/hive#{agent}"
DROP_INS: Final = Path("/run/systemd/system", f"{UNIT}.d")
TEXT: Final = f"""
[Unit]
Description=Container '%i'
[Service]
Type=notify
EnvironmentFile=-{CONFIG}/%i.conf
ExecStart=/usr/bin/systemd-nspawn --quiet --keep-unit --register=no --machine=%i --directory={agent_root()} \
    --read-only --private-users-ownership=off --kill-signal=SIGTERM --console=pipe $EXTRA_NSPAWN_FLAGS \
    -- /bin/sh /run/hive/program
Restart=on-failure
RestartForceExitStatus=133
SuccessExitStatus=133
KillMode=mixed
Delegate=yes
Slice=machine.slice
"""
REBOOT: Final = "import ctypes, signal; ctypes.CDLL(None).reboot(0x1234567)"


@dataclass
class WithoutNix:
    """Leaves out what makes a NixOS; the unit that is started is the same."""

    def define(self, name: str, spec: ContainerSpec, flake: str) -> None:
        assert flake == FLAKE.replace("{agent}", name)
        words = flags(spec).replace("--private-users-ownership=chown ", "")
        (CONFIG / f"{name}.conf").write_text(f"EXTRA_NSPAWN_FLAGS={words}\n")
        (spec.run_dir / "program").write_text(f"set -a; . /run/hive/environment; PATH=/usr/bin:/bin; set +a\n{SCRIPT}")

    def destroy(self, name: str) -> None:
        (CONFIG / f"{name}.conf").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def template() -> Iterator[None]:
    CONFIG.mkdir(exist_ok=True)
    TEMPLATE.write_text(TEXT)
    systemctl("daemon-reload")
    yield
    systemctl("kill", "--signal=KILL", "container@*", check=False)
    systemctl("stop", "container@*", check=False)
    systemctl("reset-failed", check=False)
    TEMPLATE.unlink(missing_ok=True)
    systemctl("daemon-reload")


def systemctl(*words: str, check: bool = True) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=check).stdout


@asynccontextmanager
async def runtime(folder: Path) -> AsyncIterator[tuple[NixosRuntime, list[ContainerExit]]]:
    """A new object over the same containers, and what it tells."""
    made, ends = NixosRuntime(folder / "agents", WithoutNix(), FLAKE), list[ContainerExit]()

    async def watch() -> None:
        async for end in made.watch():
            ends.append(end)

    await made.list()
    task = asyncio.ensure_future(watch())
    try:
        yield made, ends
    finally:
        task.cancel()
        await asyncio.wait({task})
        await made.aclose()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await scenario()

    asyncio.run(bounded())


async def up(made: NixosRuntime, spec: ContainerSpec) -> None:
    await made.create(spec)
    await made.start(spec.name)
    await eventually(lambda: says(made, f"started {spec.environment.get('TOKEN', '')}".rstrip()))


async def says(made: NixosRuntime, line: str) -> bool:
    return line in [each.rstrip() for each in await made.logs("ada", 50)]


def test_it_runs_from_start_to_stop_and_is_gone_when_it_is_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, ends):
            for number in (1, 2):
                await up(made, spec_in(tmp_path, TOKEN=f"run {number} of {tmp_path.name}"))
                found = (await made.list())["ada"]
                assert found.running
                assert found.since
                assert (await made.exec("ada", ["id", "-u"], user=User.ENGINE)).output == "1000\n"
                assert (await made.usage("ada")).pids != 0
                await made.stop("ada", grace_s=20)
                await until(partial(_told, ends, number))
                assert not (await made.list())["ada"].running
            assert [end.status for end in ends] == [0, 0]
            await made.remove("ada")
            await made.remove("ada")
            assert await made.list() == {}
            assert not list(CONFIG.glob("ada*"))
            assert not DROP_INS.exists()

    run(scenario)


def test_limits_are_properties_of_the_unit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, _):
            limits = Limits(memory_bytes=512 * 2**20, cpus=0.5, pids=77)
            await up(made, replace(spec_in(tmp_path), limits=limits))
            shown = systemctl("show", "--property=MemoryMax,CPUQuotaPerSecUSec,TasksMax,Restart", UNIT)
            wanted = {"MemoryMax": str(512 * 2**20), "CPUQuotaPerSecUSec": "500ms", "TasksMax": "77", "Restart": "no"}
            assert dict(line.split("=") for line in shown.split()) == wanted

    run(scenario)


def test_a_crash_is_told_once_and_left_to_the_supervisor(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, ends):
            await made.create(spec_in(tmp_path, EXIT="7"))
            await made.start("ada")
            await until(lambda: len(ends) == 1)
            await up(made, spec_in(tmp_path, TOKEN=f"again {tmp_path.name}"))
            await made.kill("ada")
            await until(lambda: len(ends) == 2)
            assert [(end.status, end.signal) for end in ends] == [(7, None), (128 + SIGKILL, SIGKILL)]
            assert not (await made.list())["ada"].running

    run(scenario)


def test_a_container_that_reboots_has_not_crashed_and_runs_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, ends):
            spec = spec_in(tmp_path)
            await made.create(spec)
            once = f'[ -e /run/hive/again ] || {{ touch /run/hive/again; exec python3 -c "{REBOOT}"; }}\n'
            (spec.run_dir / "program").write_text(f"{once}{SCRIPT}")
            await made.start("ada")
            await until(lambda: len(ends) == 1)
            assert ends[0].is_reboot
            await eventually(lambda: runs(made))

    run(scenario)


async def runs(made: NixosRuntime) -> bool:
    return (await made.list())["ada"].running


def test_a_later_supervisor_finds_what_runs_and_what_ended_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, _):
            await up(made, spec_in(tmp_path))
        async with runtime(tmp_path) as (made, ends):
            assert (await made.list())["ada"].running
        systemctl("kill", "--signal=KILL", UNIT)
        async with runtime(tmp_path) as (made, ends):
            await eventually(lambda: is_over(made))
            ended = (await made.list())["ada"].exit
            assert ended
            assert ended.signal == SIGKILL
            assert len(ends) <= 1

    run(scenario)


def _told(ends: list[ContainerExit], count: int) -> bool:
    return len(ends) == count


async def is_over(made: NixosRuntime) -> bool:
    return not await runs(made)


def test_containers_of_the_machines_own_are_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = spec_in(tmp_path / "machine")
        spec.run_dir.mkdir()
        WithoutNix().define("ada", replace(spec, run_dir=spec.run_dir), "/etc/hive#ada")
        spec.state_dir.mkdir()
        (spec.run_dir / "environment").touch()
        systemctl("start", UNIT)
        async with runtime(tmp_path) as (made, ends):
            assert await made.list() == {}
            with pytest.raises(CannotStart, match="a container ada of its own; give the agent another name"):
                await made.create(spec_in(tmp_path))
            await made.kill("ada")
            await made.remove("ada")
            assert systemctl("is-active", UNIT).strip() == "active"
            systemctl("stop", UNIT)
            assert ends == []

    run(scenario)


def test_what_nixos_cannot_have_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with runtime(tmp_path) as (made, _):
            with pytest.raises(CannotStart, match="at most 11 characters"):
                await made.create(spec_in(tmp_path, "a-long-name-"))
            with pytest.raises(CannotStart, match="no blank in its path"):
                await made.create(spec_in(tmp_path / "a b"))
            with pytest.raises(CannotStart, match="was not created"):
                await made.start("ada")
            assert await made.list() == {}

    run(scenario)


def test_a_machine_without_the_template_is_no_nixos(tmp_path: Path) -> None:
    TEMPLATE.unlink()
    systemctl("daemon-reload")

    async def scenario() -> None:
        async with runtime(tmp_path) as (made, _):
            await made.create(spec_in(tmp_path))
            with pytest.raises(CannotStart, match="is it NixOS"):
                await made.start("ada")

    run(scenario)


def test_the_doctor_finds_a_container_of_an_agent_that_is_not_there_and_ends_it(tmp_path: Path) -> None:
    """Its definition, which only NixOS has, would go with `nixos-container destroy`."""
    hive_id(tmp_path)
    here = Site(tmp_path, SupervisorSettings(), ImageSettings(), os.environ)

    async def scenario() -> None:
        async with runtime(tmp_path) as (made, _):
            await up(made, spec_in(tmp_path))

    run(scenario)
    (found,) = examine(CHECKS, here, only=["containers"]).findings
    assert (found.part, found.state, found.mendable) == ("nixos", State.WRONG, True)
    assert "the container ada is of ada, an agent that is not there, and runs" in found.text
    mended = examine(CHECKS, here, only=["containers"], fix=True)
    assert [one.state for one in mended.findings] == [State.OK]
    assert systemctl("is-active", UNIT, check=False).strip() != "active"
