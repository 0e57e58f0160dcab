"""What the `docker` runtime does beside what every back-end does, with a real engine."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.back_ends import PROGRAM, spec_in
from tests.support.docker_engine import SMALL_IMAGE, DockerEngine, docker_engine
from tests.support.podman_engine import PodmanEngine
from tests.support.waiting import eventually, until

from hive_contracts.errors import TimedOut, Unavailable
from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import docker_host
from hive_supervisor.runtimes.base import ContainerExit, ContainerSpec, Limits, User
from hive_supervisor.runtimes.docker import DockerRuntime
from hive_supervisor.runtimes.docker_api import why_not_reachable

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

MIB = 1024 * 1024
SMALL = Limits(memory_bytes=64 * MIB)
GREEDY = ("/bin/python3", "-c", "print('started', flush=True); bytearray(10 ** 9)")


class Rig:
    """One hive's containers on an engine: `runtime` is watched, `ends` is what it said."""

    def __init__(self, engine: DockerEngine | PodmanEngine, folder: Path, program: tuple[str, ...]) -> None:
        self.engine = engine
        self.folder = folder
        self.hive_id = uuid.uuid4().hex
        self.runtime = self.another(program)
        self.ends: list[ContainerExit] = []

    def another(self, program: tuple[str, ...] = PROGRAM) -> DockerRuntime:
        return self.engine.runtime(self.folder / "agents", hive_id=self.hive_id, program=program)

    def spec(self, name: str = "ada", **environment: str) -> ContainerSpec:
        return replace(spec_in(self.folder, name, **environment), image=SMALL_IMAGE)

    async def up(self, spec: ContainerSpec) -> None:
        """Returns once its program said that it runs."""

        async def said() -> bool:
            return any(line.startswith("started") for line in await self.runtime.logs(spec.name, 5))

        await self.runtime.create(spec)
        await self.runtime.start(spec.name)
        await eventually(said, within_s=30)

    async def runs(self, name: str = "ada") -> bool:
        return (await self.runtime.list())[name].running

    async def watch(self) -> None:
        async for end in self.runtime.watch():
            self.ends.append(end)


@asynccontextmanager
async def rig(
    engine: DockerEngine | PodmanEngine, folder: Path, program: tuple[str, ...] = PROGRAM
) -> AsyncIterator[Rig]:
    made = Rig(engine, folder, program)
    await made.runtime.list()
    watching = asyncio.ensure_future(made.watch())
    try:
        yield made
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        for name in await made.runtime.list():
            await made.runtime.remove(name)
        await made.runtime.aclose()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(200):
            await scenario()

    asyncio.run(bounded())


def test_who_runs_out_of_memory_is_told_so(docker: DockerEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(docker, tmp_path, GREEDY) as hive:
            await hive.runtime.create(replace(hive.spec(), limits=SMALL))
            await hive.runtime.start("ada")
            await until(lambda: hive.ends, within_s=30)
            (end,) = hive.ends
            assert (end.status, end.oom) == (137, True)
            found = (await hive.runtime.list())["ada"].exit
            assert found
            assert found.oom

    run(scenario)


def test_a_kill_long_after_a_command_ran_out_of_memory_is_only_a_kill(docker: DockerEngine, tmp_path: Path) -> None:
    """The engine marks the container for good as soon as anything in it ran out."""

    async def scenario() -> None:
        async with rig(docker, tmp_path) as hive:
            await hive.up(replace(hive.spec(), limits=SMALL))
            done = await hive.runtime.exec("ada", ["python3", "-c", "bytearray(10 ** 9)"])
            assert done.status == 137
            assert await hive.runs(), "what ran out was ended, and nothing else"
            container = docker.docker("ps", "-q", "--no-trunc", "--filter", f"label=org.hyperhive.hive={hive.hive_id}")
            await until(lambda: container in hive.runtime.shortages, within_s=30)
            hive.runtime.shortages[container] -= 60
            await hive.runtime.kill("ada")
            await until(lambda: hive.ends)
            assert (hive.ends[0].signal, hive.ends[0].oom) == (9, False)

    run(scenario)


@pytest.fixture
def engine(docker: DockerEngine) -> Iterator[DockerEngine]:
    """The session's engine, to be ended and started again: by this thread, for it ends with the one that started it."""
    yield docker
    if docker.process is None or docker.process.poll() is not None or docker.options:
        docker.stop()
        docker.options = ()
        docker.start()


def test_ends_while_the_engine_is_away_are_told_once_it_is_back(engine: DockerEngine, tmp_path: Path) -> None:
    """An engine that was killed ends its containers when it starts again."""

    async def scenario() -> None:
        async with rig(engine, tmp_path) as hive:
            await hive.up(hive.spec())
            await hive.up(hive.spec("lin"))
            engine.kill()
            with pytest.raises(Unavailable):
                await hive.runtime.list()
            with pytest.raises(Unavailable):
                await hive.runtime.create(hive.spec())
            engine.start()
            await until(lambda: len(hive.ends) == 2, within_s=60)
            assert sorted(end.name for end in hive.ends) == ["ada", "lin"]
            await hive.up(hive.spec())
            assert await hive.runs()
            assert len(hive.ends) == 2

    run(scenario)


def test_containers_outlive_an_engine_that_lets_them(engine: DockerEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(engine, tmp_path) as hive:
            engine.stop()
            engine.options = ("--live-restore",)
            engine.start()
            await hive.up(hive.spec())
            await hive.up(hive.spec("lin"))
            since = (await hive.runtime.list())["ada"].since
            pid = int(engine.docker("inspect", "--format", "{{.State.Pid}}", f"{hive.runtime.prefix}-lin"))
            engine.kill()
            os.kill(pid, 9)
            engine.start()
            await until(lambda: hive.ends, within_s=60)
            assert [end.name for end in hive.ends] == ["lin"]
            assert (await hive.runtime.list())["ada"].since == since
            await hive.runtime.kill("ada")
            await until(lambda: len(hive.ends) == 2)

    run(scenario)


def test_a_changed_spec_makes_the_container_anew_and_the_same_one_does_not(
    docker: DockerEngine, tmp_path: Path
) -> None:
    def container(hive: Rig) -> str:
        return docker.docker("inspect", "--format", "{{.Id}} {{.HostConfig.Memory}}", f"{hive.runtime.prefix}-ada")

    async def scenario() -> None:
        async with rig(docker, tmp_path) as hive:
            await hive.runtime.create(hive.spec())
            first = container(hive)
            await hive.runtime.create(hive.spec())
            assert container(hive) == first
            await hive.runtime.create(replace(hive.spec(), limits=SMALL))
            assert container(hive).split()[0] != first.split()[0]
            assert container(hive).split()[1] == str(64 * MIB)

    run(scenario)


def test_commands_run_as_whom_they_are_asked_for_and_end_in_time(docker: DockerEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(docker, tmp_path) as hive:
            spec = hive.spec()
            await hive.up(spec)
            for user, uid in ((User.ENGINE, spec.uid), (User.HARNESS, spec.harness_uid), (User.ROOT, 0)):
                assert (await hive.runtime.exec("ada", ["id", "-u"], user=user)).output == f"{uid}\n"
            began = time.monotonic()
            with pytest.raises(TimedOut, match="sleep did not end"):
                await hive.runtime.exec("ada", ["sleep", "300"], timeout_s=0.5)
            assert time.monotonic() - began < 60
            assert "300" not in engine_processes(docker, hive)

    run(scenario)


def engine_processes(docker: DockerEngine, hive: Rig) -> str:
    return docker.docker("top", f"{hive.runtime.prefix}-ada", "-o", "pid,args")


def test_containers_reach_no_other_and_without_a_network_nothing(docker: DockerEngine, tmp_path: Path) -> None:
    reach = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"

    async def scenario() -> None:
        async with rig(docker, tmp_path) as hive:
            for name, network in (("ada", Network.HOST), ("lin", Network.HOST), ("bob", Network.NONE)):
                await hive.up(replace(hive.spec(name), network=network))
            serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
            docker.docker("exec", "-d", f"{hive.runtime.prefix}-lin", "python3", "-c", serve)
            address = docker.docker(
                "inspect",
                "--format",
                "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                f"{hive.runtime.prefix}-lin",
            )

            async def served() -> bool:
                return (await hive.runtime.exec("lin", ["python3", "-c", reach, address, "8000"])).status == 0

            await eventually(served)
            assert (await hive.runtime.exec("ada", ["python3", "-c", reach, address, "8000"])).status != 0
            devices = (await hive.runtime.exec("bob", ["cat", "/proc/net/dev"])).output
            assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]

        assert hive.runtime.prefix not in docker.docker("network", "ls")

    run(scenario)


def nothing_left(hive: Rig) -> bool:
    made = hive.engine.docker("ps", "-aq", "--filter", f"label=org.hyperhive.hive={hive.hive_id}")
    return not made and not (hive.folder / "agents" / "ada" / "run").exists()


def test_a_missing_image_and_a_taken_name_are_a_sentence_each(docker: DockerEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(docker, tmp_path) as hive:
            with pytest.raises(CannotStart, match=r"no image nothing:1; make it with `hive image build"):
                await hive.runtime.create(replace(hive.spec(), image="nothing:1"))
            assert nothing_left(hive)
            docker.docker("create", "--name", f"{hive.runtime.prefix}-ada", SMALL_IMAGE, "true")
            with pytest.raises(CannotStart, match=r"another container has the name hive-.*-ada; remove or rename it"):
                await hive.runtime.create(hive.spec())
            await hive.runtime.stop("ada", grace_s=0)
            await hive.runtime.remove("ada")
            assert nothing_left(hive)
            docker.docker("rm", f"{hive.runtime.prefix}-ada")  # it was left alone

    run(scenario)


def test_a_program_that_is_not_there_does_not_pass_for_a_start(docker: DockerEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(docker, tmp_path, ("/no/such/program",)) as hive:
            await hive.runtime.create(hive.spec())
            await hive.runtime.start("ada")
            await until(lambda: hive.ends)
            assert hive.ends[0].status == 127
            assert "/no/such/program" in (await hive.runtime.logs("ada", 5))[-1]

    run(scenario)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with docker_engine(disk_bytes=400 * MIB) as small:

        async def scenario() -> None:
            async with rig(small, tmp_path) as hive:
                full = small.disk / "full"
                with contextlib.suppress(OSError), full.open("wb") as file:
                    while True:
                        file.write(b"x" * MIB)
                with pytest.raises(CannotStart, match=r"disk is full .*docker system df"):
                    await hive.runtime.create(hive.spec())
                assert nothing_left(hive)
                full.unlink()
                await hive.up(hive.spec())

        run(scenario)


def test_why_an_engine_cannot_be_used_is_told(docker: DockerEngine, tmp_path: Path) -> None:
    assert "start Docker's (systemctl start docker)" in asyncio.run(docker_host.why_not(tmp_path / "docker.sock"))
    docker.forget("hyperhive")
    assert asyncio.run(docker_host.why_not(docker.socket)).startswith("the container engine has no image hyperhive")
    docker.docker("tag", SMALL_IMAGE, "hyperhive")
    assert asyncio.run(docker_host.why_not(docker.socket)) == ""
    docker.forget("hyperhive")


def test_who_has_no_engine_or_podman_alone_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install docker.io or podman and start it" in why_not_reachable(tmp_path / "docker.sock")
    podman = tmp_path / "podman"
    podman.touch(mode=0o755)
    assert "systemctl enable --now podman.socket" in why_not_reachable(tmp_path / "docker.sock")


def test_a_user_who_may_not_use_the_engine_is_told_what_to_do(docker: DockerEngine) -> None:
    docker.directory.chmod(0o755)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.setresuid(65_534, 65_534, 65_534)
        os.write(writer, why_not_reachable(docker.socket).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"join its group" in os.read(reader, 999)
    for handle in (reader, writer):
        os.close(handle)
