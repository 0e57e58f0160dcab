"""A whole hive on a real Docker engine: three agents talk, and what happens to containers and services is told."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.away import answers
from tests.support.built_image import built_image
from tests.support.docker_engine import DockerEngine
from tests.support.hive import Hive, hive
from tests.support.terminal import typed
from tests.support.waiting import wait_until

from hive_supervisor.images.docker import give

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

AGENTS: Final = ("hm1nd", "ada", "lin")
MEMORY_MB: Final = 192
FILL: Final = "[ -e once ] || { touch once; head -c 400000000 /dev/zero >/tmp/full; }"
"""What lies in /tmp counts as the container's memory; who takes most of the rest is ended: the harness."""


@pytest.fixture(scope="module")
def running(docker: DockerEngine) -> Iterator[Hive]:
    environment = {
        "DOCKER_HOST": f"unix://{docker.socket}",
        "HIVE_SUPERVISOR_LIMIT_MEMORY_MB": str(MEMORY_MB),
        "HIVE_BROKER_CRASH_NOTE_S": "1",
    }
    give(built_image(), environment)
    root = Path(__file__).parents[2]
    docker.docker("build", "--network=none", "--build-arg=BASE=hyperhive", "--tag=hyperhive", str(root))
    with hive("--engine", "scripted", "--runtime", "docker", environment=environment) as started:
        for name in AGENTS[1:]:
            started.cli("spawn", name)
        yield started
    docker.forget("hyperhive")
    docker.docker("network", "prune", "-f")


def containers(docker: DockerEngine) -> dict[str, dict[str, Any]]:
    """What the engine says of each agent's container."""
    ids = docker.docker("ps", "-aq", "--filter", "label=org.hyperhive.agent").split()
    found = json.loads(docker.docker("inspect", *ids)) if ids else []
    return {one["Config"]["Labels"]["org.hyperhive.agent"]: one for one in found}


def runs_of(docker: DockerEngine) -> dict[str, str]:
    """When each run began."""
    return {name: one["State"]["StartedAt"] for name, one in containers(docker).items() if one["State"]["Running"]}


def account(hive: Hive, name: str) -> dict[str, Any]:
    return dict(hive.api("GET", f"/agents/{name}"))


def told(hive: Hive) -> list[str]:
    """What the manager was told by the system."""
    messages = hive.api("GET", "/agents/hm1nd/inbox", params={"limit": 200})["messages"]
    return [message["body"] for message in messages if message["sender"] == "system"]


def is_told(hive: Hive, *words: str) -> Callable[[], bool]:
    return lambda: any(all(word in body for word in words) for body in told(hive))


def has_another_supervisor(hive: Hive, than: int) -> bool:
    rows = hive.api("GET", "/status")["services"]
    return any(row["service"] == "supervisor" and int(row["pid"]) != than for row in rows)


def test_three_agents_talk(running: Hive, docker: DockerEngine) -> None:
    wait_until(lambda: set(runs_of(docker)) == set(AGENTS), within_s=60)
    running.send("ada", "!send lin !send hm1nd !send operator once around")
    wait_until(lambda: "once around" in answers(running), within_s=60)
    shown = running.cli("status")
    assert "docker" in shown
    assert "no capabilities" in shown


def test_the_operators_terminal_is_in_the_container_as_the_engines_user(running: Hive, docker: DockerEngine) -> None:
    said = typed(running, "ada", "echo $HIVE_AGENT_NAME:$(hostname):$(id -u)-; stty size", sees="40 200")
    container = containers(docker)["ada"]
    assert f":{container['Config']['Hostname']}:" in said
    assert ":0-" not in said


def test_each_container_is_held_to_what_is_set(running: Hive, docker: DockerEngine) -> None:
    for one in containers(docker).values():
        host = one["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == MEMORY_MB * 1024 * 1024
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
        assert host["RestartPolicy"]["Name"] == "no"
        assert "docker.sock" not in json.dumps(one)


def test_a_killed_container_is_told_and_started_again(running: Hive, docker: DockerEngine) -> None:
    before = runs_of(docker)
    os.kill(containers(docker)["ada"]["State"]["Pid"], signal.SIGKILL)
    wait_until(is_told(running, "ada", "signal 9"), within_s=60)
    running.send("ada", "!send operator ada is back")
    wait_until(lambda: "ada is back" in answers(running), within_s=60)
    after = runs_of(docker)
    assert after["ada"] != before["ada"]
    assert {name: after[name] for name in ("hm1nd", "lin")} == {name: before[name] for name in ("hm1nd", "lin")}


def test_who_runs_out_of_memory_is_told_so(running: Hive, docker: DockerEngine) -> None:
    message_id = running.send("lin", f"!bash {FILL}\n!send operator lin has room again")
    wait_until(is_told(running, "lin", "memory"), within_s=60)
    wait_until(lambda: "lin has room again" in answers(running), within_s=90)
    wait_until(lambda: running.api("GET", f"/messages/{message_id}")["message"]["state"] == "acked", within_s=60)


def test_a_wanted_stop_is_no_crash_and_a_new_supervisor_leaves_all_as_it_is(
    running: Hive, docker: DockerEngine
) -> None:
    known = [body for body in told(running) if "ada" in body]
    running.cli("stop", "ada")
    wait_until(lambda: "ada" not in runs_of(docker))
    before = runs_of(docker)
    supervisor = running.pid("supervisor")
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: has_another_supervisor(running, supervisor), within_s=60)
    running.send("lin", "!send operator lin never noticed")
    wait_until(lambda: "lin never noticed" in answers(running), within_s=60)
    assert runs_of(docker) == before
    assert account(running, "ada")["container"] == "stopped"
    assert [body for body in told(running) if "ada" in body] == known


def test_what_ended_while_no_supervisor_was_there_is_told(running: Hive, docker: DockerEngine) -> None:
    known = len(told(running))
    supervisor = running.pid("supervisor")
    pid = containers(docker)["lin"]["State"]["Pid"]
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "lin" not in runs_of(docker))
    os.kill(supervisor, signal.SIGKILL)
    running.send("lin", "!send operator lin again")
    wait_until(lambda: "lin again" in answers(running), within_s=60)
    wait_until(lambda: len(told(running)) > known, within_s=60)


def test_all_goes_on_after_the_engine_was_killed(running: Hive, docker: DockerEngine) -> None:
    running.cli("start", "ada")
    docker.kill()
    docker.start()
    wait_until(lambda: set(runs_of(docker)) == set(AGENTS), within_s=120)
    running.send("ada", "!send lin !send hm1nd !send operator around again")
    wait_until(lambda: "around again" in answers(running), within_s=90)


def test_a_purged_agent_leaves_no_container(running: Hive, docker: DockerEngine) -> None:
    running.cli("stop", "ada")
    running.cli("destroy", "ada", "--purge", "--yes")
    wait_until(lambda: set(containers(docker)) == {"hm1nd", "lin"}, within_s=60)
    assert not (running.data_dir / "agents" / "ada").exists()
