"""The `process` runtime beyond what all do: its shim, its processes, its limits. With real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.back_ends import BACK_ENDS, BackEnd, skip, spec_in
from tests.support.processes import command_line, descendants
from tests.support.waiting import until

from hive_contracts.models import Network
from hive_runtime.process import start_time
from hive_runtime.wiping import wipe
from hive_supervisor.config import Isolation
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import bubblewrap, control_groups, shim
from hive_supervisor.runtimes.base import ContainerExit, ContainerRuntime, ContainerSpec, Limits
from hive_supervisor.runtimes.launch import Launch
from hive_supervisor.runtimes.ownership import hand_over
from hive_supervisor.runtimes.process import ProcessRuntime

pytestmark = pytest.mark.system


@pytest.fixture(params=["plain", "bubblewrap"])
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> BackEnd:
    return BACK_ENDS[request.param](tmp_path, request.getfixturevalue)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


async def next_exit(runtime: ContainerRuntime) -> ContainerExit:
    return await anext(aiter(runtime.watch()))


async def is_up(runtime: ContainerRuntime, spec: ContainerSpec) -> None:
    await runtime.create(spec)
    await runtime.start(spec.name)
    await until(lambda: "started" in spec.log_file.read_text())


def shim_pid(tmp_path: Path) -> int:
    return int(json.loads((tmp_path / "agents" / "ada" / "container.json").read_text())["pid"])


async def gone(pids: set[int]) -> None:
    await until(lambda: not any(start_time(pid) for pid in pids))


def test_a_new_runtime_takes_up_what_an_earlier_one_started(back_end: BackEnd, tmp_path: Path) -> None:
    async def scenario() -> None:
        earlier = back_end.runtime()
        container = back_end.spec("ada")
        await is_up(earlier, container)
        await earlier.aclose()
        later = back_end.runtime()
        assert set(await later.list()) == {"ada"}
        tree = descendants(shim_pid(tmp_path))
        await later.stop("ada", grace_s=10)
        await gone(tree - {shim_pid(tmp_path)})
        assert (await next_exit(later)).status == 0
        await later.aclose()

    run(scenario)


def test_a_killed_shim_takes_the_container_along(back_end: BackEnd, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = back_end.runtime()
        container = back_end.spec("ada")
        await is_up(runtime, container)
        tree = descendants(shim_pid(tmp_path))
        os.kill(shim_pid(tmp_path), signal.SIGKILL)
        assert (await next_exit(runtime)).status is None
        await gone(tree)
        await runtime.aclose()

    run(scenario)


def test_a_supervisor_killed_before_its_record_is_written_leaves_nothing_running(tmp_path: Path) -> None:
    program = f"import sys; sys.stdin = None; open({str(tmp_path / 'ran')!r}, 'w')"
    shell = subprocess.Popen(
        ["/bin/sh", "-c", shim.SCRIPT, str(tmp_path / "exit"), sys.executable, "-c", program], stdin=subprocess.PIPE
    )
    assert shell.stdin
    shell.stdin.close()
    assert shell.wait(10) == 125
    assert not (tmp_path / "ran").exists()


def short_launch(folder: Path) -> Launch:
    """A container that ends at once."""
    command = (sys.executable, "-c", "")
    return Launch(command=command, environment={}, log_file=folder / "log", folder=folder, sandboxed=False, depth=0)


def test_a_start_that_fails_leaves_nothing_running_and_no_record(tmp_path: Path) -> None:
    (tmp_path / "container.json").mkdir()  # its record cannot be written
    before = descendants(os.getpid())
    with pytest.raises(OSError, match="container"):
        shim.start(tmp_path, short_launch(tmp_path))
    assert descendants(os.getpid()) == before
    assert shim.since(tmp_path) is None


def test_what_cannot_be_made_or_started_is_a_sentence(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async def scenario() -> None:
        plain = BACK_ENDS["plain"](tmp_path, request.getfixturevalue)
        runtime, ada = plain.runtime(), plain.spec("ada")
        with pytest.raises(CannotStart, match="no network"):
            await runtime.create(replace(ada, network=Network.NONE))
        await runtime.create(replace(ada, log_file=tmp_path / "nowhere" / "log"))
        with pytest.raises(CannotStart, match="nowhere"):
            await runtime.start("ada")
        assert not (await runtime.list())["ada"].running
        await runtime.remove("ada")
        assert [path.name for path in ada.state_dir.parent.iterdir()] == ["state"]
        ada.state_dir.rename(tmp_path / "state")
        ada.state_dir.parent.rmdir()
        ada.state_dir.parent.touch()
        with pytest.raises(CannotStart):
            await runtime.create(ada)
        await runtime.aclose()

    run(scenario)


@pytest.mark.parametrize("network", Network)
def test_without_a_network_there_is_only_the_loopback(
    request: pytest.FixtureRequest, tmp_path: Path, network: Network
) -> None:
    async def scenario() -> None:
        sandbox = BACK_ENDS["bubblewrap"](tmp_path, request.getfixturevalue)
        runtime, ada = sandbox.runtime(), replace(sandbox.spec("ada"), network=network)
        await is_up(runtime, ada)
        inside = (await runtime.exec("ada", ["readlink", "/proc/self/ns/net"])).output.strip()
        assert (inside == str(Path("/proc/self/ns/net").readlink())) == (network is Network.HOST)  # noqa: ASYNC240
        if network is Network.NONE:
            devices = (await runtime.exec("ada", ["cat", "/proc/net/dev"])).output
            assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]
        await runtime.remove("ada")
        await runtime.aclose()

    run(scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk; run the tests as root")
@pytest.mark.parametrize("kind", ["plain", "bubblewrap"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True)

    async def scenario() -> None:
        back_end = BACK_ENDS[kind](disk, request.getfixturevalue)
        runtime, ada = back_end.runtime(), back_end.spec("ada")
        with pytest.raises(OSError, match="No space left"), (disk / "full").open("wb", buffering=0) as full:
            while True:
                full.write(b"x" * 4096)
        with pytest.raises(CannotStart, match=r"the container of ada cannot be made: .*No space left on device"):
            await runtime.create(ada)
        assert await runtime.list() == {}
        assert [path.name for path in ada.state_dir.parent.iterdir()] in ([], ["state"])
        (disk / "full").unlink()
        await is_up(runtime, ada)
        await runtime.remove("ada")
        await runtime.aclose()

    try:
        run(scenario)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def sleeper(tmp_path: Path) -> int:
    """The pid of what the container's program started; 0 before it did."""
    return next((pid for pid in descendants(shim_pid(tmp_path)) if command_line(pid).startswith("sleep")), 0)


def limits_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:25].strip(): line[25:].split()[0] for line in lines}


def test_limits_hold_inside(back_end: BackEnd, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = back_end.runtime()
        await is_up(runtime, replace(back_end.spec("ada"), limits=Limits(pids=100, open_files=300)))
        await until(lambda: sleeper(tmp_path))
        limits = limits_of(sleeper(tmp_path))
        assert limits["Max open files"] == "300"
        if os.geteuid() == 0 and "bubblewrap" in runtime.isolation:
            assert limits["Max processes"] == "100"
        await runtime.remove("ada")
        await runtime.aclose()

    run(scenario)


TAKE = "taken = bytearray({} << 20); import time; time.sleep(600)"


@pytest.mark.skipif(bool(control_groups.why_not()), reason=control_groups.why_not() or "as it says")
@pytest.mark.parametrize("isolation", [Isolation.NONE, Isolation.BUBBLEWRAP])
def test_one_that_takes_too_much_memory_is_ended_and_told_so(tmp_path: Path, isolation: Isolation) -> None:
    if isolation is Isolation.BUBBLEWRAP and (reason := bubblewrap.why_not()):
        skip(reason)

    async def scenario() -> None:
        program = [sys.executable, "-c", TAKE.format(600)]
        group = f"hyperhive-test-{os.getpid()}"
        runtime = ProcessRuntime(tmp_path / "agents", isolation, program=program, group=group)
        limits = Limits(memory_bytes=128 << 20, pids=50, cpus=0.5)
        await runtime.create(replace(spec_in(tmp_path), limits=limits))
        await runtime.start("ada")
        end = await next_exit(runtime)
        assert (end.signal, end.oom) == (signal.SIGKILL, True)
        await runtime.remove("ada")
        assert control_groups.remove(f"{group}-ada"), "nothing of it is left"
        await runtime.aclose()

    run(scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_state_that_was_another_users_becomes_the_agents_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the machine's")
    state = tmp_path / "state"
    (state / "home").mkdir(parents=True)
    (state / "home" / "note").write_text("mine")
    (state / "link").symlink_to(outside)
    (state / "way").symlink_to(tmp_path)
    (state / "log").write_text("the harness's")
    for path in (state, state / "home", state / "home" / "note"):
        os.chown(path, 5000, 5000)
    os.chown(state / "log", 5001, 5000)
    for _ in range(2):
        hand_over(state, uid=7000, others=7001)
        assert [path.lstat().st_uid for path in (state, state / "home" / "note", state / "log")] == [7000, 7000, 7001]
        assert outside.stat().st_uid == tmp_path.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_however_deep_a_tree_is_it_is_handed_over(tmp_path: Path) -> None:
    """Deeper than Python nests calls, with paths longer than the kernel takes."""
    state = tmp_path / "state"
    state.mkdir()
    here = os.open(state, os.O_RDONLY)
    for _ in range(1100):
        for name in ("d" * 20, "side"):
            os.mkdir(name, dir_fd=here)
        there = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    hand_over(state, uid=7000, others=7001)
    assert os.fstat(here).st_uid == 7000
    os.close(here)
    wipe(state)
    assert not state.exists()


def test_a_record_of_another_process_with_the_same_pid_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "container.json").write_text(json.dumps({"pid": os.getpid(), "started": "1", "depth": 0}))
    assert shim.find(tmp_path) is None


def test_a_container_that_ended_and_was_not_waited_for_is_not_taken_up(tmp_path: Path) -> None:
    """A killed supervisor's containers go to a process that may wait for them late, or never."""
    container = shim.start(tmp_path, short_launch(tmp_path))
    try:
        os.waitid(os.P_PID, container.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(container.pid) == container.started
        assert shim.find(tmp_path) is None
    finally:
        shim.reap(container.pid)
