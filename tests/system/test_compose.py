"""`docker-compose.yml` on a real engine, with images made of this machine's files: a hive comes up, and comes back."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.docker_engine import DockerEngine
from tests.support.services_base import services_base
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "hive-test-base"
PROJECT: Final = "hive-test"
WITHIN_S: Final = 120


@dataclass(slots=True)
class Composed:
    """A project on the tests' engine. `variables` are what its user would put into `.env`."""

    docker: DockerEngine
    profile: str
    variables: dict[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str) -> str:
        """What the command printed; asserts that it ended well."""
        words = ["docker-compose", "--project-name", PROJECT, "--profile", self.profile, *arguments]
        given = {"DOCKER_HOST": f"unix://{self.docker.socket}", "HIVE_REDIS_IMAGE": BASE, **self.variables}
        environ = {"PATH": os.environ["PATH"], "HOME": "/root", **given}
        done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}{self._why()}"
        return done.stdout

    def hive(self, *arguments: str) -> str:
        """As `docker compose exec dashboard hive …`, without the second that Compose takes for it."""
        labels = (f"project={PROJECT}", "service=dashboard")
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return self.docker.docker("exec", self.docker.docker("ps", "--quiet", *filters), "hive", *arguments)

    def bodies(self) -> list[str]:
        """What the operator was written."""
        return [message["body"] for message in json.loads(self.hive("inbox", "--json"))["messages"]]

    def says(self, name: str, words: str) -> None:
        """Returns when `name`, asked to, has told the operator `words`."""
        self.hive("send", name, f"!send operator {words}")
        wait_until(lambda: words in self.bodies(), within_s=WITHIN_S)

    def runs(self, *names: str) -> bool:
        rows = json.loads(self.hive("agents", "--json"))["agents"]
        return {row["name"] for row in rows if row["container"] == "running" and row["state"]} >= set(names)

    def states(self) -> dict[str, str]:
        """Name → what its harness says that it is."""
        rows = json.loads(self.hive("agents", "--json"))["agents"]
        return {row["name"]: (row["state"] or {}).get("state", "") for row in rows}

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service → what the engine says of its container."""
        ids = self.docker.docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        found = json.loads(self.docker.docker("inspect", *ids)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def is_healthy(self) -> bool:
        states = [one["State"] for one in self.containers().values()]
        return all(state["Health"]["Status"] == "healthy" for state in states if "Health" in state)

    def _why(self) -> str:
        return "".join(
            f"\n{name} {one['State']['Status']}:\n{self.docker.docker('logs', '--tail', '20', one['Id'])}"
            for name, one in self.containers().items()
        )


@pytest.fixture(scope="module")
def built(docker: DockerEngine) -> Iterator[DockerEngine]:
    """With both images of the Dockerfile, made of a base that this machine's files make."""
    if shutil.which("docker-compose") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("docker-compose is missing: apt install it")
    docker.docker("import", "-", BASE, given=services_base())
    offline = ("--network=none", f"--build-arg=BASE={BASE}")
    docker.docker("build", *offline, "--target=services", "--tag=hyperhive-services", str(ROOT))
    docker.docker("build", *offline, "--tag=hyperhive", str(ROOT))
    yield docker
    for image in ("hyperhive", "hyperhive-services", BASE):
        docker.forget(image)


@contextmanager
def composed(docker: DockerEngine, profile: str, **variables: str) -> Iterator[Composed]:
    project = Composed(docker, profile, variables)
    try:
        project.compose("up", "--detach")
        wait_until(project.is_healthy, within_s=WITHIN_S)
        yield project
    finally:
        project.compose("down", "--volumes")
        docker.docker("network", "prune", "-f")


def test_a_demo_comes_up_and_nothing_is_lost_between_down_and_up(built: DockerEngine) -> None:
    with composed(built, "demo") as project:
        wait_until(lambda: project.runs("hm1nd", "ada", "lin"), within_s=WITHIN_S)
        project.says("ada", "from the box")
        healthy = {name: one["State"].get("Health", {}).get("Status") for name, one in project.containers().items()}
        assert {name for name, status in healthy.items() if status == "healthy"} == {
            "redis", "broker", "dashboard", "supervisor-demo",
        }  # fmt: skip
        before = project.bodies()
        project.compose("down")
        assert project.containers() == {}

        project.compose("up", "--detach")
        wait_until(lambda: project.runs("hm1nd", "ada", "lin"), within_s=WITHIN_S)
        assert set(before) <= set(project.bodies())
        project.says("lin", "after the box was away")
        assert project.bodies().count("from the box") == 1
        assert_hardened(project, root=set())
        assert_published_on_loopback_alone(project)


def assert_hardened(project: Composed, *, root: set[str]) -> None:
    for name, one in project.containers().items():
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert not host["Privileged"], name
        if one["State"]["Running"]:
            assert one["Config"]["User"].startswith("0:") == (name in root), name


def assert_published_on_loopback_alone(project: Composed) -> None:
    ports = {
        name: binding
        for name, one in project.containers().items()
        for bindings in (one["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or ()
    }
    assert ports == {"dashboard": {"HostIp": "127.0.0.1", "HostPort": "7000"}}


def test_agents_are_containers_of_their_own_and_outlive_their_supervisor(built: DockerEngine) -> None:
    variables = {"HIVE_DOCKER_SOCKET": str(built.socket), "HIVE_ENGINE": "scripted"}
    with composed(built, "agents", **variables) as project:
        wait_until(lambda: project.runs("hm1nd"), within_s=WITHIN_S)
        project.says("hm1nd", "from a container")
        assert_hardened(project, root={"supervisor"})
        agents = ("ps", "--quiet", "--no-trunc", "--filter", "label=org.hyperhive.agent")
        before = built.docker(*agents)
        assert before

        project.compose("kill", "-s", "SIGTERM", "supervisor")
        wait_until(lambda: not project.containers()["supervisor"]["State"]["Running"], within_s=WITHIN_S)
        assert built.docker(*agents) == before
        project.compose("up", "--detach", "supervisor")
        project.says("hm1nd", "under another supervisor")
        assert built.docker(*agents) == before

        project.compose("up", "--detach")  # `prepare` runs again, beside a Redis that runs
        wait_until(project.is_healthy, within_s=WITHIN_S)
        project.hive("spawn", "rosa")
        project.says("rosa", "made after that")
        project.hive("doctor", "redis", "users", "secrets", "engine")
        supervisor = project.containers()["supervisor"]["Id"]
        built.docker("exec", supervisor, "hive", "doctor", "redis", "users", "secrets", "ids", "containers")

        project.compose("stop", "supervisor")
        assert built.docker(*agents) == ""
        ids = built.docker("ps", "-aq", "--filter", "label=org.hyperhive.agent").split()
        built.docker("rm", *ids)


def test_a_backup_is_made_and_restored_inside_compose(built: DockerEngine, tmp_path: Path) -> None:
    """As docs/backup.md says it: in the place of `prepare`, once over the running hive, once over an empty volume."""
    archived = ("run", "--rm", "--volume", f"{tmp_path}:/backup", "prepare", "hive")
    with composed(built, "demo") as project:
        wait_until(lambda: project.runs("hm1nd", "ada", "lin"), within_s=WITHIN_S)
        project.says("ada", "before the backup")
        project.compose(*archived, "backup", "/backup/hive.tar.gz")
        project.says("ada", "after the backup")
    empty = {"HIVE_VOLUME": "hive-test-again"}
    again = Composed(built, "demo", empty)
    try:
        again.compose(*archived, "restore", "/backup/hive.tar.gz")
        with composed(built, "demo", **empty) as project:
            wait_until(
                lambda: project.states() == {"hm1nd": "paused", "ada": "paused", "lin": "paused"}, within_s=WITHIN_S
            )
            assert "before the backup" in project.bodies()
            assert "after the backup" not in project.bodies()
            project.hive("resume", "--all")
            project.says("ada", "in the restored hive")
    finally:
        again.compose("down", "--volumes")
