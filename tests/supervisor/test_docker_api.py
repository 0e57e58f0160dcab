"""The client of the Docker Engine API, with a real engine."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from tests.support.docker_engine import SMALL_IMAGE, DockerEngine
from tests.support.waiting import eventually

from hive_supervisor.errors import EngineAway, EngineConflict, EngineLacks, EngineRefused
from hive_supervisor.runtimes.docker_api import DockerApi, Event, socket_path, why_not_reachable

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SLEEP = ("/bin/sleep", "600")
LABELS = {"test": uuid.uuid4().hex}


@asynccontextmanager
async def connected(docker: DockerEngine) -> AsyncIterator[DockerApi]:
    """Whose containers are removed at the end."""
    api = DockerApi(docker.socket)
    try:
        yield api
    finally:
        for left in await api.containers(LABELS):
            await api.remove(left.id)
        await api.aclose()


async def made(api: DockerApi, *command: str, name: str = "ada", **host: object) -> str:
    config = {"Image": SMALL_IMAGE, "Cmd": command or SLEEP, "Labels": LABELS}
    return await api.create(name, {**config, "HostConfig": {"NetworkMode": "none", **host}})


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(bounded())


def test_an_engine_says_what_it_can(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            engine = await api.engine()
            assert engine.version
            assert engine.root_dir == docker.directory / "data"
            assert engine.has("seccomp")
            assert not engine.has("userns")
            assert (await api.image(SMALL_IMAGE)).id.startswith("sha256:")

    run(scenario)


def test_a_container_is_made_started_killed_and_removed(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            container = await made(api)
            before = await api.container("ada")
            assert (before.id, before.state.running, before.labels) == (container, False, LABELS)
            assert before.state.started_at.year == 1
            await api.start(container)
            await api.start(container)
            assert (await api.container(container)).state.running
            assert [one.id for one in await api.containers(LABELS)] == [container]
            await api.kill(container, 9)
            await api.ended(container)
            ended = (await api.container(container)).state
            assert (ended.running, ended.exit_code, ended.oom_killed) == (False, 137, False)
            assert ended.finished_at >= ended.started_at
            with pytest.raises(EngineConflict):
                await api.kill(container, 9)
            await api.remove(container)
            assert await api.containers(LABELS) == []

    run(scenario)


def test_what_is_not_there_is_told_apart_from_what_is_in_the_way(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            for ask in (api.container("nobody"), api.image("no-such-image"), api.remove("nobody")):
                with pytest.raises(EngineLacks, match=r"refused: (?i:no such)"):
                    await ask
            with pytest.raises(EngineLacks):
                await api.create("ada", {"Image": "no-such-image"})
            await made(api)
            with pytest.raises(EngineConflict, match="already in use"):
                await made(api)
            with pytest.raises(EngineRefused, match="Invalid container name"):
                await made(api, name="/..")

    run(scenario)


def test_a_command_inside_gives_its_status_and_the_end_of_what_it_printed(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            container = await made(api)
            with pytest.raises(EngineConflict):
                await api.exec(container, ["true"], user="0:0", limit=100)
            await api.start(container)
            both = ["sh", "-c", "echo out; echo err >&2; exit 3"]
            status, output = await api.exec(container, both, user="0:0", limit=100)
            assert (status, sorted(output.split())) == (3, [b"err", b"out"])
            assert await api.exec(container, ["id", "-u"], user="700001:700001", limit=100) == (0, b"700001\n")
            long = ["sh", "-c", "head -c 300000 /dev/zero; echo end"]
            status, output = await api.exec(container, long, user="0:0", limit=1000)
            assert (status, len(output), output[-4:]) == (0, 1000, b"end\n")

    run(scenario)


def test_events_are_of_the_containers_asked_for(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api, aclosing(api.events(LABELS)) as events:
            assert await anext(events) is None, "it listens"
            other = await api.create("other", {"Image": SMALL_IMAGE, "Cmd": SLEEP})
            await api.remove(other)
            container = await made(api, "/bin/false")
            await api.start(container)
            seen: list[Event] = []
            async for event in events:
                assert event
                seen.append(event)
                if event.action == "die":
                    break
            assert {event.id for event in seen} == {container}
            assert [event.action for event in seen] == ["create", "start", "die"]

    run(scenario)


def test_a_container_that_takes_too_much_memory_is_marked(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            limit = 32 * 1024 * 1024
            greedy = ("/bin/python3", "-c", "bytearray(10 ** 8)")
            container = await made(api, *greedy, Memory=limit, MemorySwap=limit)
            await api.start(container)
            await api.ended(container)
            state = (await api.container(container)).state
            assert (state.oom_killed, state.exit_code) == (True, 137)

    run(scenario)


def test_figures_are_those_of_the_container(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            container = await made(api)
            await api.start(container)

            async def is_alone() -> bool:
                """The engine's own process that began it has left."""
                return bool((await api.stats(container))["pids_stats"]["current"] == 1)

            await eventually(is_alone)
            assert 0 < (await api.stats(container))["memory_stats"]["usage"] < 2**30

    run(scenario)


def test_a_network_is_made_once(docker: DockerEngine) -> None:
    async def scenario() -> None:
        async with connected(docker) as api:
            for _ in range(2):
                await api.ensure_network("hive-test", {"Driver": "bridge", "Labels": LABELS})
            await api.remove_network("hive-test")
            with pytest.raises(EngineLacks):
                await api.remove_network("hive-test")

    run(scenario)


def test_an_engine_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        api = DockerApi(tmp_path / "docker.sock")
        with pytest.raises(EngineAway, match=r"no container engine listens at .*docker\.sock; (start|install|let)"):
            await api.engine()
        (tmp_path / "docker.sock").touch()
        with pytest.raises(EngineAway, match="does not listen; start it"):
            await api.engine()
        await api.aclose()

    run(scenario)


@pytest.mark.parametrize(("content", "says"), [(b"]]", "broke off"), (b"{}", "is not understood"), (b"", "broke off")])
def test_an_engine_that_answers_nonsense_counts_as_away(tmp_path: Path, content: bytes, says: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if content:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + content)
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_unix_server(answer, tmp_path / "docker.sock")
        api = DockerApi(tmp_path / "docker.sock")
        try:
            with pytest.raises(EngineAway, match=says):
                await api.engine()
        finally:
            await api.aclose()
            server.close()

    run(scenario)


def test_the_socket_is_the_one_named_or_a_usual_one(tmp_path: Path) -> None:
    assert socket_path({}, "/a/docker.sock") == Path("/a/docker.sock")
    assert socket_path({"DOCKER_HOST": "unix:///b/podman.sock"}) == Path("/b/podman.sock")
    assert socket_path({"DOCKER_HOST": "tcp://elsewhere:2375"}).name in {"docker.sock", "podman.sock"}
    assert "set DOCKER_HOST" in why_not_reachable(tmp_path / "docker.sock")
