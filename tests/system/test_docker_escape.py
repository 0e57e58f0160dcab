"""A hostile container under Docker, tried from inside as its root; and that each try works once what keeps it is off.

`tests/support/hostile.py` is what runs inside.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.back_ends import PROGRAM, spec_in
from tests.support.docker_engine import SMALL_IMAGE, DockerEngine, docker_engine
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent
from hive_supervisor.runtimes.base import ContainerSpec, User
from hive_supervisor.runtimes.docker import DockerRuntime
from hive_supervisor.runtimes.docker_api import DockerApi
from hive_supervisor.runtimes.docker_config import AGENT, HIVE, LOG, USERS, Plan, Users

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

PROBE: Final = (Path(__file__).parents[1] / "support" / "hostile.py").read_text()
MARK: Final = ("/usr/bin/sleep", "31536001")
PORT: Final = 8099
MAPPED: Final = 0x3000_0000

Host = dict[str, Any]


def gives(*names: str) -> Callable[[Host], Host]:
    return lambda host: {**host, "CapAdd": [*host["CapAdd"], *names]}


def but(**settings: object) -> Callable[[Host], Host]:
    return lambda host: {**host, **settings}


def all_files(host: Host) -> Host:
    everything = {"Type": "bind", "Source": "/", "Target": "/mnt", "ReadOnly": False}
    return {**host, "Mounts": [*host["Mounts"], everything], "CapDrop": []}


OFF: Final[Mapping[str, Callable[[Host], Host]]] = {
    "read a file of the machine's": all_files,
    "write a file of the machine's": all_files,
    "read the hive's data": all_files,
    "read another agent's state": all_files,
    "write another agent's state": all_files,
    "write the system": but(ReadonlyRootfs=False),
    "load a module": gives("SYS_MODULE"),
    "make a device": gives("MKNOD", "DAC_OVERRIDE"),
    "mount": gives("SYS_ADMIN"),
    "see a process of the machine's": but(PidMode="host"),
    "reach the dashboard": but(NetworkMode="host"),
    "reach docker": all_files,
    "reach the machine's D-Bus": all_files,
    "set the kernel's core pattern": but(MaskedPaths=[], ReadonlyPaths=[]),
    "change its name": gives("SYS_ADMIN"),
}
"""Each try, and what must be changed of a container for it to work."""


@dataclass
class Place:
    """What a hostile container may be after, and an engine to run it."""

    engine: DockerEngine
    folder: Path
    aims: dict[str, Any]

    @cached_property
    def protected(self) -> dict[str, Any]:
        return self.tried(lambda host: host)

    def tried(self, change: Callable[[Host], Host]) -> dict[str, Any]:
        """What `hostile.py` found in a container that was changed so."""

        async def run() -> dict[str, Any]:
            runtime = self.engine.runtime(self.folder / "agents", hive_id="eve", program=PROGRAM)
            try:
                return await self._tried(runtime, change)
            finally:
                await runtime.remove("eve")
                await runtime.aclose()
                for left in ("disk", "id"):
                    (self.spec.state_dir / left).unlink(missing_ok=True)

        return asyncio.run(run())

    async def _tried(self, runtime: DockerRuntime, change: Callable[[Host], Host]) -> dict[str, Any]:
        spec = self.spec
        await self._create(runtime, spec, change)
        await runtime.start("eve")
        words = ["env", f"TRIES={json.dumps(self.aims)}", "python3", "-c", PROBE]
        done = await runtime.exec("eve", words, user=User.ROOT, timeout_s=60)
        assert done.status == 0, done.output
        return dict(json.loads(done.output.splitlines()[-1]))

    async def _create(self, runtime: DockerRuntime, spec: ContainerSpec, change: Callable[[Host], Host]) -> None:
        """As the back-end does; then once more, changed."""
        await runtime.create(spec)
        assert spec.uid
        api = DockerApi(self.engine.socket)
        made = await api.container(f"{runtime.prefix}-eve")
        users = Users.of(made.labels[USERS])
        plan = Plan(spec, users, SMALL_IMAGE, runtime.prefix, self.folder / "agents" / "eve" / "etc", PROGRAM)
        config = plan.config({HIVE: "eve", AGENT: "eve", LOG: str(spec.log_file), USERS: users.words})
        config["HostConfig"] = change(dict(config["HostConfig"]))  # type: ignore[call-overload]
        await api.remove(made.id)
        await api.create(f"{runtime.prefix}-eve", config)
        await api.aclose()

    @property
    def spec(self) -> ContainerSpec:
        return replace(spec_in(self.folder, "eve"), image=SMALL_IMAGE)


def placed(engine: DockerEngine, closing: ExitStack) -> Place:
    """Files, sockets, a process and a port that are not for it. All of the machine's is at /mnt, if it gets there."""
    folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="hive-")))
    other = folder / "agents" / "lin" / "state"
    other.mkdir(parents=True)
    secret, data, bus = folder / "secret", folder / "supervisor.sqlite", folder / "bus"
    for path in (secret, data, other / "diary"):
        path.write_text("private")
        path.chmod(0o600)
    listening = closing.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(str(bus))
    listening.listen()
    assert engine.process
    inside = ["nsenter", "--target", str(engine.process.pid), "--net", "--"]
    serve = [*inside, sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(PORT)]
    for command in (list(MARK), serve):
        process = subprocess.Popen(
            command, preexec_fn=die_with_parent(signal.SIGKILL), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        closing.callback(process.wait)
        closing.callback(process.kill)
    ask = [*inside, sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {PORT})).close()"]
    wait_until(lambda: subprocess.run(ask, stderr=subprocess.DEVNULL, check=False).returncode == 0)
    disk = Path("/").stat().st_dev
    aims = {
        "secret": f"/mnt{secret}",
        "hive": f"/mnt{data}",
        "other": f"/mnt{other}",
        "docker": f"/mnt{engine.socket}",
        "bus": f"/mnt{bus}",
        "process": " ".join(MARK),
        "port": PORT,
        "disk": [os.major(disk), os.minor(disk)],
        "writer": 0,
    }
    return Place(engine, folder, aims)


@pytest.fixture(scope="module")
def stock(docker: DockerEngine) -> Iterator[Place]:
    with ExitStack() as closing:
        yield placed(docker, closing)


@pytest.fixture(scope="module")
def mapping() -> Iterator[Place]:
    """On an engine with `userns-remap`."""
    with docker_engine(first_id=MAPPED) as engine, ExitStack() as closing:
        yield placed(engine, closing)


def test_root_inside_is_refused_everything(stock: Place) -> None:
    found = stock.protected
    assert {name: found[name] for name in OFF if not found[name].startswith("refused")} == {}
    assert found["leave a program that runs as its owner"].startswith("refused"), "as itself, it cannot enter /state"
    assert (found["uid"], found["no new privileges"], found["seccomp"]) == (0, "1", "2")
    kill, setgid, setuid, setpcap = 1 << 5, 1 << 6, 1 << 7, 1 << 8
    assert int(found["capabilities"], 16) == kill | setgid | setuid | setpcap
    assert found["open files"] == stock.spec.limits.open_files


def test_root_inside_is_refused_everything_where_the_engine_maps_users(mapping: Place) -> None:
    found = mapping.protected
    assert {name: found[name] for name in OFF if not found[name].startswith("refused")} == {}


CHANGES: Final = list(dict.fromkeys(OFF.values()))


@pytest.mark.parametrize("tries", [[n for n in OFF if OFF[n] is change] for change in CHANGES], ids=lambda n: n[0])
def test_each_try_works_once_what_keeps_it_is_off(stock: Place, tries: list[str]) -> None:
    found = stock.tried(OFF[tries[0]])
    assert {name: found[name] for name in tries} == dict.fromkeys(tries, "done")


AS_ROOT_OF_ITS_GROUP: Final = """
import os, shutil, sys
os.setegid(int(sys.argv[1]))
shutil.copy("/usr/bin/id", "/state/id")
os.chmod("/state/id", 0o4755)
"""


def left_behind(place: Place) -> Path:
    """A set-uid program that root inside left in /state; it may become any user, so of the agent's group too."""

    async def leave() -> None:
        runtime = place.engine.runtime(place.folder / "agents", hive_id="eve", program=PROGRAM)
        try:
            await runtime.create(place.spec)
            await runtime.start("eve")
            group = (await runtime.exec("eve", ["id", "-g"])).output.strip()
            words = ["python3", "-c", AS_ROOT_OF_ITS_GROUP, group]
            assert (await runtime.exec("eve", words, user=User.ROOT)).output == ""
        finally:
            await runtime.remove("eve")
            await runtime.aclose()

    (place.spec.state_dir / "id").unlink(missing_ok=True)
    asyncio.run(leave())
    return place.spec.state_dir / "id"


def run_as_nobody(program: Path) -> str:
    """The user that it runs as."""
    try:
        done = subprocess.run(
            [program, "-u"], capture_output=True, text=True, check=True, user="nobody", group="nogroup", extra_groups=[]
        )
    except PermissionError:
        return "refused"
    return done.stdout.strip()


def test_what_runs_as_its_owner_is_out_of_everybodys_reach(stock: Place) -> None:
    """The folders above it are the hive's alone. Without that, it would be root for everyone."""
    program = left_behind(stock)
    assert program.stat().st_mode & 0o7777 == 0o4755
    assert program.stat().st_uid == 0
    assert stock.folder.stat().st_mode & 0o777 == 0o700, "as `hive up` makes its data directory"
    assert run_as_nobody(program) == "refused"
    stock.folder.chmod(0o755)
    program.parent.chmod(0o2775)
    try:
        assert run_as_nobody(program) == "0"
    finally:
        program.unlink()
        stock.folder.chmod(0o700)


def test_what_runs_as_its_owner_is_an_ordinary_users_where_the_engine_maps_users(mapping: Place) -> None:
    program = left_behind(mapping)
    assert program.stat().st_uid == MAPPED
