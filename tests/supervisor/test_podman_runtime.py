"""What the `docker` runtime does on a real Podman, beside what every back-end does."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.supervisor.test_docker_runtime import GREEDY, SMALL, Rig, rig, run
from tests.support.podman_engine import PodmanEngine
from tests.support.waiting import eventually, until

from hive_contracts.models import Network
from hive_supervisor.runtimes import docker_host

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

REACH = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"


def test_who_runs_out_of_memory_is_ended_and_told_of(podman: PodmanEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(podman, tmp_path, GREEDY) as hive:
            await hive.runtime.create(replace(hive.spec(), limits=SMALL))
            await hive.runtime.start("ada")
            await until(lambda: hive.ends, within_s=30)
            assert [(end.name, end.status) for end in hive.ends] == [("ada", 137)]

    run(scenario)


def address(podman: PodmanEngine, hive: Rig, name: str) -> str:
    shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return podman.docker("inspect", "--format", shown, f"{hive.runtime.prefix}-{name}")


def test_containers_reach_no_other_and_without_a_network_nothing(podman: PodmanEngine, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rig(podman, tmp_path) as hive:
            for name, network in (("ada", Network.HOST), ("lin", Network.HOST), ("bob", Network.NONE)):
                await hive.up(replace(hive.spec(name), network=network))
            podman.docker("exec", "-d", f"{hive.runtime.prefix}-lin", "python3", "-c", SERVE)
            lin = address(podman, hive, "lin")

            async def served() -> bool:
                return (await hive.runtime.exec("lin", ["python3", "-c", REACH, lin, "8000"])).status == 0

            await eventually(served)
            assert (await hive.runtime.exec("ada", ["python3", "-c", REACH, lin, "8000"])).status != 0
            devices = (await hive.runtime.exec("bob", ["cat", "/proc/net/dev"])).output
            assert [line.split(":")[0].strip() for line in devices.splitlines()[2:]] == ["lo"]
        assert hive.runtime.prefix not in podman.docker("network", "ls")

    run(scenario)


def test_containers_go_on_and_are_told_of_when_the_service_was_killed(podman: PodmanEngine, tmp_path: Path) -> None:
    """It only answers: a monitor of its own watches each container."""

    async def scenario() -> None:
        async with rig(podman, tmp_path) as hive:
            await hive.up(hive.spec())
            await hive.up(hive.spec("lin"))
            podman.kill()
            podman.docker("kill", f"{hive.runtime.prefix}-lin")
            podman.start()
            await until(lambda: hive.ends, within_s=60)
            assert [(end.name, end.signal) for end in hive.ends] == [("lin", 9)]
            assert await hive.runs()

    run(scenario)


def test_it_is_told_from_docker(podman: PodmanEngine) -> None:
    assert "(Podman " in docker_host.isolation(podman.engine())
