"""The conformance suite of `ContainerRuntime`: every back-end behaves like this, with real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.processes import descendants
from tests.support.waiting import until

from hive_runtime.process import start_time
from hive_supervisor.config import Isolation
from hive_supervisor.runtimes import bubblewrap, shim
from hive_supervisor.runtimes.base import ContainerExit, ContainerRuntime, ContainerSpec
from hive_supervisor.runtimes.memory import MemoryRuntime
from hive_supervisor.runtimes.process import ProcessRuntime

pytestmark = pytest.mark.system

# Writes its pid where it may, then ends in the way that the environment names.
PROGRAM = """
import os, signal, sys, time, pathlib
state = pathlib.Path(os.environ["HIVE_STATE_DIR"])
signal.signal(signal.SIGTERM, (lambda *_: None) if os.environ.get("STUBBORN") else (lambda *_: sys.exit(0)))
if os.environ.get("EXIT"):
    sys.exit(int(os.environ["EXIT"]))
if os.environ.get("DIE"):
    os.kill(os.getpid(), signal.SIGKILL)
os.fork()
(state / "ready").write_text("yes")
while True:
    time.sleep(60)
"""

MakeRuntime = Callable[[], ContainerRuntime]


def made(kind: str, tmp_path: Path) -> MakeRuntime:
    """What makes a runtime of this kind; each call a new one over the same containers."""
    if kind == "memory":
        twin = MemoryRuntime()
        return lambda: twin
    if kind == "bubblewrap" and (reason := bubblewrap.why_not()):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(f"{reason}; install it to run this")
    isolation = Isolation.NONE if kind == "plain" else Isolation.BUBBLEWRAP
    return lambda: ProcessRuntime(tmp_path / "agents", isolation, program=[sys.executable, "-c", PROGRAM])


@pytest.fixture(params=["memory", "plain", "bubblewrap"])
def make_runtime(request: pytest.FixtureRequest, tmp_path: Path) -> MakeRuntime:
    return made(request.param, tmp_path)


@pytest.fixture(params=["plain", "bubblewrap"])
def make_processes(request: pytest.FixtureRequest, tmp_path: Path) -> MakeRuntime:
    """A runtime whose containers are processes."""
    return made(request.param, tmp_path)


def spec(tmp_path: Path, name: str = "ada", **environment: str) -> ContainerSpec:
    folder = tmp_path / "agents" / name
    return ContainerSpec(
        name=name,
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_file=tmp_path / f"{name}.log",
        environment={"PATH": os.environ["PATH"], **environment},
        secrets={"redis-password": "secret"},
        readable=tuple(Path(p) for p in {sys.prefix, sys.base_prefix} if not p.startswith("/usr")),
    )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


async def next_exit(runtime: ContainerRuntime) -> ContainerExit:
    return await anext(aiter(runtime.exits()))


async def is_up(runtime: ContainerRuntime, spec: ContainerSpec) -> None:
    if isinstance(runtime, ProcessRuntime):
        await until((spec.state_dir / "ready").exists)


def test_what_is_started_runs_and_what_is_stopped_ends(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = make_runtime()
        container = spec(tmp_path)
        assert await runtime.running() == set()
        await runtime.start(container)
        await runtime.start(container)
        assert await runtime.running() == {"ada"}
        await is_up(runtime, container)
        await runtime.stop("ada", grace_s=10)
        assert await runtime.running() == set()
        assert (await next_exit(runtime)).status == 0
        await runtime.stop("ada", grace_s=10)
        await runtime.aclose()

    run(scenario)


def test_two_containers_do_not_know_each_other(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = make_runtime()
        ada, lin = spec(tmp_path), spec(tmp_path, "lin")
        await runtime.start(ada)
        await runtime.start(lin)
        await is_up(runtime, ada)
        await runtime.stop("ada", grace_s=10)
        assert await runtime.running() == {"lin"}
        await is_up(runtime, lin)
        await runtime.stop("lin", grace_s=10)
        await runtime.aclose()

    run(scenario)


@pytest.mark.parametrize(("how", "status", "number"), [({"EXIT": "7"}, 7, None), ({"DIE": "1"}, 137, 9)])
def test_an_unasked_end_is_told_with_its_status(
    make_runtime: MakeRuntime, tmp_path: Path, how: dict[str, str], status: int, number: int | None
) -> None:
    async def scenario() -> None:
        runtime = make_runtime()
        if isinstance(runtime, MemoryRuntime):
            await runtime.start(spec(tmp_path))
            runtime.crash("ada", status=status)
        else:
            await runtime.start(spec(tmp_path, **how))
        ended = await next_exit(runtime)
        assert (ended.name, ended.status, ended.signal) == ("ada", status, number)
        assert await runtime.running() == set()
        await runtime.aclose()

    run(scenario)


def shim_pid(tmp_path: Path) -> int:
    return int(json.loads((tmp_path / "agents" / "ada" / "container.json").read_text())["pid"])


async def gone(pids: set[int]) -> None:
    await until(lambda: not any(start_time(pid) for pid in pids))


def test_a_stubborn_container_is_killed_after_its_grace(make_processes: MakeRuntime, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = make_processes()
        container = spec(tmp_path, STUBBORN="1")
        await runtime.start(container)
        await is_up(runtime, container)
        tree = descendants(shim_pid(tmp_path))
        await runtime.stop("ada", grace_s=0.1)
        await gone(tree)
        assert (await next_exit(runtime)).status is None
        await runtime.aclose()

    run(scenario)


def test_a_new_runtime_takes_up_what_an_earlier_one_started(make_processes: MakeRuntime, tmp_path: Path) -> None:
    async def scenario() -> None:
        earlier = make_processes()
        container = spec(tmp_path)
        await earlier.start(container)
        await is_up(earlier, container)
        await earlier.aclose()
        later = make_processes()
        assert await later.running() == {"ada"}
        tree = descendants(shim_pid(tmp_path))
        await later.stop("ada", grace_s=10)
        await gone(tree - {shim_pid(tmp_path)})
        assert (await next_exit(later)).status == 0
        await later.aclose()

    run(scenario)


def test_a_killed_shim_takes_the_container_along(make_processes: MakeRuntime, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = make_processes()
        container = spec(tmp_path)
        await runtime.start(container)
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


def test_a_record_of_another_process_with_the_same_pid_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "container.json").write_text(json.dumps({"pid": os.getpid(), "started": "1", "depth": 0}))
    assert shim.find(tmp_path) is None


def test_a_container_that_ended_and_was_not_waited_for_is_not_taken_up(tmp_path: Path) -> None:
    """A killed supervisor's containers go to a process that may wait for them late, or never."""
    container = shim.start(tmp_path, [sys.executable, "-c", ""], depth=0, environment={}, log_file=tmp_path / "log")
    try:
        os.waitid(os.P_PID, container.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(container.pid) == container.started
        assert shim.find(tmp_path) is None
    finally:
        shim.reap(container.pid)
