"""The nspawn back-end beyond what every back-end does: its units, its users, and what it says when it cannot."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.back_ends import PROGRAM, spec_in
from tests.support.nspawn_host import TreeImage, agent_root
from tests.support.processes import alive, descendants
from tests.support.waiting import eventually, until

from hive_contracts.errors import Unavailable
from hive_contracts.ids import new_id
from hive_contracts.models import Network
from hive_runtime.checkup import State, examine
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.doctor.registry import CHECKS
from hive_supervisor.doctor.site import Site
from hive_supervisor.errors import CannotStart
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.runtimes.base import ContainerExit, ContainerSpec, Limits, User
from hive_supervisor.runtimes.nspawn import NspawnRuntime

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

Scenario = Callable[[NspawnRuntime], Awaitable[None]]
ADA = "ada"


@pytest.fixture
def hive() -> Iterator[str]:
    """A hive's id; its units are gone afterwards."""
    key = new_id()
    yield key
    systemctl("kill", "--signal=KILL", f"hive-{key[-12:]}-*", check=False)
    systemctl("stop", f"hive-{key[-12:]}-*", check=False)
    systemctl("reset-failed", check=False)


def runtime(folder: Path, hive: str, root: Path | None = None, bus: str | None = None) -> NspawnRuntime:
    image = TreeImage("v1", root or agent_root())
    address = {"bus_address": bus} if bus else {}
    return NspawnRuntime(folder / "agents", hive, lambda _: image, program=PROGRAM, **address)


def run(made: NspawnRuntime, scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await scenario(made)
            await made.aclose()

    asyncio.run(bounded())


def systemctl(*words: str, check: bool = True) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=check).stdout


def unit(hive: str, name: str = ADA) -> str:
    return f"hive-{hive[-12:]}-{name}.service"


def main_pid(hive: str) -> int:
    return int(systemctl("show", "--value", "--property=MainPID", unit(hive)))


def loaded(hive: str) -> bool:
    return systemctl("show", "--value", "--property=LoadState", unit(hive)).strip() != "not-found"


async def up(made: NspawnRuntime, spec: ContainerSpec) -> None:
    await made.create(spec)
    await made.start(spec.name)
    await until(lambda: "started" in spec.log_file.read_text())


async def next_end(made: NspawnRuntime) -> ContainerExit:
    return await anext(aiter(made.watch()))


def test_limits_are_properties_of_the_unit(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        limits = Limits(memory_bytes=512 * 2**20, cpus=0.5, pids=77, open_files=333)
        await up(made, replace(spec_in(tmp_path), limits=limits))
        names = ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax", "Delegate", "OOMPolicy", "Slice"]
        shown = systemctl("show", *(f"--property={name}" for name in names), unit(hive))
        assert dict(line.split("=") for line in shown.split()) == {
            "MemoryMax": str(512 * 2**20),
            "MemorySwapMax": "0",
            "CPUQuotaPerSecUSec": "500ms",
            "TasksMax": "77",
            "Delegate": "yes",
            "OOMPolicy": "stop",
            "Slice": "machine.slice",
        }
        assert open_files(descendants_of(hive)[-1]) == "333"

    run(runtime(tmp_path, hive), scenario)


def open_files(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.startswith("Max open files"))


def descendants_of(hive: str) -> list[int]:
    """nspawn, process 1 of the container, and so on."""
    return sorted(descendants(main_pid(hive)))


@pytest.mark.parametrize("whom", ["nspawn", "process 1", "the harness"])
def test_whatever_of_a_container_is_killed_it_ends_by_that_signal_and_leaves_nothing(
    tmp_path: Path, hive: str, whom: str
) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        await made.list()
        await up(made, spec_in(tmp_path))
        tree = descendants_of(hive)
        ending = asyncio.ensure_future(next_end(made))
        os.kill(tree[["nspawn", "process 1", "the harness"].index(whom)], signal.SIGKILL)
        end = await ending
        assert end.name == ADA
        assert end.signal == signal.SIGKILL or (whom == "process 1" and end.status)
        await until(lambda: not any(map(alive, tree)))

    run(runtime(tmp_path, hive), scenario)


def test_one_that_the_administrator_stops_is_told_as_ended(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        await made.list()
        await up(made, spec_in(tmp_path))
        ending = asyncio.ensure_future(next_end(made))
        await asyncio.to_thread(systemctl, "stop", unit(hive))
        assert (await ending).status == 0
        assert not (await made.list())[ADA].running

    run(runtime(tmp_path, hive), scenario)


def test_commands_inside_run_as_the_user_asked_for_without_capabilities_and_end_with_the_unit(
    tmp_path: Path, hive: str
) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        await up(made, spec_in(tmp_path))
        for user, uid in ((User.ENGINE, 1000), (User.HARNESS, 1001), (User.ROOT, 0)):
            said = await made.exec(ADA, ["sh", "-c", "id -u; grep CapEff /proc/self/status; pwd"], user=user)
            assert said.output.split() == [str(uid), "CapEff:", "0" * 16, "/state"]
        sleeping = asyncio.ensure_future(made.exec(ADA, ["sleep", "4321"], timeout_s=90))
        await eventually(lambda: asyncio.to_thread(_sleeps, hive))
        await made.kill(ADA)
        assert (await sleeping).status == 128 + signal.SIGKILL

    run(runtime(tmp_path, hive), scenario)


def _sleeps(hive: str) -> bool:
    return "sleep 4321" in systemctl("status", unit(hive), "--no-pager", "--full", check=False)


def test_its_files_belong_to_its_own_ids_and_no_one_else_can_enter(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        spec = spec_in(tmp_path)
        await up(made, spec)
        assert spec.id_base
        done = await made.exec(ADA, ["touch", "/state/home/note"])
        assert done.status == 0, done.output
        owner = (spec.state_dir / "home" / "note").stat()
        assert (owner.st_uid, spec.state_dir.stat().st_mode & 0o7777) == (spec.id_base + 1000, 0o2770)
        secret = spec.run_dir / "redis-password"
        assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (spec.id_base + 1001, 0o600)
        assert (await made.exec(ADA, ["cat", "/run/hive/redis-password"])).status != 0
        assert (await made.exec(ADA, ["cat", "/run/hive/redis-password"], user=User.HARNESS)).output == "secret"

    run(runtime(tmp_path, hive), scenario)


@pytest.mark.parametrize(("network", "alone"), [(Network.NONE, True), (Network.HOST, False)])
def test_without_a_network_it_has_a_loopback_of_its_own(
    tmp_path: Path, hive: str, network: Network, *, alone: bool
) -> None:
    outside = str(Path("/proc/self/ns/net").readlink())

    async def scenario(made: NspawnRuntime) -> None:
        socket = tmp_path / "redis" / "redis.sock"
        socket.parent.mkdir()
        await up(made, replace(spec_in(tmp_path), network=network, redis_socket=socket))
        inside = (await made.exec(ADA, ["readlink", "/proc/self/ns/net"])).output.strip()
        assert (inside != outside) == alone
        assert (await made.exec(ADA, ["cat", "/proc/net/dev"])).output.count("lo:") == 1
        assert (await made.exec(ADA, ["test", "-d", "/run/redis"])).status == 0

    run(runtime(tmp_path, hive), scenario)


def test_it_tells_of_what_a_container_is_made_and_of_what_a_new_one_would_be(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        await made.create(spec_in(tmp_path))
        assert (await made.list())[ADA].image == await made.newest_image() == "v1"

    run(runtime(tmp_path, hive), scenario)


def test_a_hive_does_not_see_the_containers_of_another(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        await up(made, spec_in(tmp_path))
        other = runtime(tmp_path / "other", new_id())
        assert await other.list() == {}
        await other.aclose()

    run(runtime(tmp_path, hive), scenario)


def test_a_folder_with_a_colon_in_its_name_is_bound(tmp_path: Path, hive: str) -> None:
    folder = tmp_path / "a:b c"
    folder.mkdir()

    async def scenario(made: NspawnRuntime) -> None:
        await up(made, spec_in(folder))
        assert (await made.exec(ADA, ["test", "-d", "/state/home"])).status == 0

    run(runtime(folder, hive), scenario)


def cannot(tmp_path: Path, hive: str, spec: ContainerSpec, made: NspawnRuntime, words: str) -> None:
    """It says so, and nothing is left."""

    async def scenario(made: NspawnRuntime) -> None:
        with pytest.raises(CannotStart, match=words):
            await made.create(spec)
            await made.start(ADA)
        assert not any(each.running for each in (await made.list()).values())

    run(made, scenario)
    assert not loaded(hive)


def test_an_image_that_is_half_built_is_refused(tmp_path: Path, hive: str) -> None:
    (tmp_path / "image" / "usr").mkdir(parents=True)
    made = runtime(tmp_path, hive, tmp_path / "image")
    cannot(tmp_path, hive, spec_in(tmp_path), made, "half built.*it lacks /state, .*hive image build")
    assert not (tmp_path / "agents" / ADA / "run").exists()


def test_an_image_that_cannot_be_run_is_told_in_the_words_of_nspawn(tmp_path: Path, hive: str) -> None:
    for point in ("usr", "state", "var/lib/hive", "var/tmp"):
        (tmp_path / "image" / point).mkdir(parents=True)
    made = runtime(tmp_path, hive, tmp_path / "image")
    cannot(tmp_path, hive, spec_in(tmp_path), made, "ada does not start: .*(os-release|OS tree|execv|No such file)")


def test_the_container_of_a_supervisor_that_is_not_root_is_refused(tmp_path: Path, hive: str) -> None:
    spec = replace(spec_in(tmp_path), id_base=None)
    cannot(tmp_path, hive, spec, runtime(tmp_path, hive), "needs root; start the hive as root")


def test_no_network_and_a_redis_over_it_is_refused(tmp_path: Path, hive: str) -> None:
    spec = replace(spec_in(tmp_path), network=Network.NONE)
    cannot(tmp_path, hive, spec, runtime(tmp_path, hive), "no network, but its Redis is reached over one")


def test_a_unit_name_that_the_machine_uses_itself_is_refused_and_left_alone(tmp_path: Path, hive: str) -> None:
    file = Path("/run/systemd/system", unit(hive))
    file.write_text("[Service]\nExecStart=/bin/sleep 600\n")
    systemctl("start", unit(hive))

    async def scenario(made: NspawnRuntime) -> None:
        await made.create(spec_in(tmp_path))
        with pytest.raises(CannotStart, match=r"the unit name .* is taken"):
            await made.start(ADA)
        await made.remove(ADA)
        assert systemctl("is-active", unit(hive)).strip() == "active"

    try:
        run(runtime(tmp_path, hive), scenario)
    finally:
        systemctl("stop", unit(hive))
        file.unlink()
        systemctl("daemon-reload")


def test_without_a_bus_every_question_says_so(tmp_path: Path, hive: str) -> None:
    async def scenario(made: NspawnRuntime) -> None:
        for ask in (made.list(), made.create(spec_in(tmp_path)), made.stop(ADA, grace_s=0), made.usage(ADA)):
            with pytest.raises(Unavailable, match="D-Bus does not answer at unix:path=/nowhere"):
                await ask

    run(runtime(tmp_path, hive, bus="unix:path=/nowhere"), scenario)


def test_the_doctor_finds_a_unit_of_an_agent_that_is_not_there_and_removes_it(hive: str, tmp_path: Path) -> None:
    (tmp_path / "hive.id").write_text(hive)
    here = Site(tmp_path, SupervisorSettings(), ImageSettings(), os.environ)

    async def scenario(made: NspawnRuntime) -> None:
        await made.create(spec_in(tmp_path))
        await made.start(ADA)

    run(runtime(tmp_path, hive), scenario)
    found = examine(CHECKS, here, only=["containers"])
    assert [(one.state, one.mendable) for one in found.findings] == [(State.WRONG, True)]
    assert unit(hive) in found.findings[0].text
    mended = examine(CHECKS, here, only=["containers"], fix=True)
    assert [one.state for one in mended.findings] == [State.OK]
    assert unit(hive) not in systemctl("list-units", "--all", "--plain", "hive-*")
