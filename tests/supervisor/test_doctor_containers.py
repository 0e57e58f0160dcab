"""The doctor's look at containers: those of agents that are not there are found, and removed when asked to."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.back_ends import PROGRAM, spec_in
from tests.support.docker_engine import SMALL_IMAGE, DockerEngine
from tests.support.waiting import wait_until

from hive_contracts.agents import Desired, Role
from hive_runtime.checkup import Report, State, examine
from hive_runtime.hive_id import hive_id
from hive_supervisor.config import Isolation, SupervisorSettings
from hive_supervisor.doctor.registry import CHECKS
from hive_supervisor.doctor.sightings import seen
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.runtimes.base import ContainerRuntime, ContainerSpec
from hive_supervisor.runtimes.process import ProcessRuntime
from hive_supervisor.store import NewAgent, SupervisorStore

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A hive with an agent, ada. What runs of it ends with the test."""
    hive_id(tmp_path)
    store = SupervisorStore(tmp_path / "supervisor.sqlite")
    with store.unit() as unit:
        unit.add(NewAgent("ada", Role.AGENT), datetime.now(UTC))
    store.close()
    yield tmp_path
    for one in seen(site(tmp_path)):
        asyncio.run(one.remove())


def site(data: Path, socket: Path = Path("/none")) -> Site:
    config = SupervisorSettings(docker_socket=str(socket))
    return Site(data, config, ImageSettings(), {"PATH": os.environ["PATH"]})


def look(where: Site, *, fix: bool = False) -> Report:
    return examine(CHECKS, where, only=["containers"], fix=fix)


def states(report: Report) -> list[State]:
    return [one.state for one in report.findings]


def process(data: Path) -> ProcessRuntime:
    return ProcessRuntime(data / "agents", Isolation.NONE, program=PROGRAM)


def run(runtime: ContainerRuntime, *specs: ContainerSpec) -> None:
    """Start them, and leave them alone."""

    async def scenario() -> None:
        async with asyncio.timeout(60), aclosing(runtime):
            for spec in specs:
                await runtime.create(spec)
                await runtime.start(spec.name)

    asyncio.run(scenario())


def test_a_process_of_an_agent_that_is_not_there_is_ended_and_that_of_another_is_not(data: Path) -> None:
    run(process(data), spec_in(data), spec_in(data, "gone"))
    found = look(site(data))
    assert states(found) == [State.WRONG]
    assert "gone, an agent that is not there, and runs" in found.findings[0].text
    mended = look(site(data), fix=True)
    assert len(mended.mended) == 1
    wait_until(lambda: states(look(site(data))) == [State.OK])
    assert [one.agent for one in seen(site(data))] == ["ada"]


def test_what_was_destroyed_and_runs_is_named_and_left_to_the_supervisor(data: Path) -> None:
    run(process(data), spec_in(data))
    store = SupervisorStore(data / "supervisor.sqlite")
    with store.unit() as unit:
        unit.want("ada", Desired.DESTROYED)
    store.close()
    found = look(site(data), fix=True)
    assert (states(found), found.mended) == ([State.NOTE], [])


def test_docker_containers_of_nobody_are_removed_and_those_of_other_hives_are_named(
    data: Path, docker: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other, here = tmp_path_factory.mktemp("other"), site(data, docker.socket)
    small = [replace(spec_in(data, name), image=SMALL_IMAGE) for name in ("ada", "gone")]
    ours = docker.runtime(data / "agents", hive_id=hive_id(data), program=PROGRAM)
    theirs = docker.runtime(other / "agents", hive_id=hive_id(other), program=PROGRAM)
    run(ours, *small)
    run(theirs, replace(spec_in(other, "eve"), image=SMALL_IMAGE))
    try:
        found = {one.text.partition(" is of ")[2].split()[0].rstrip(","): one for one in look(here).findings}
        assert {name: (one.state, one.mendable) for name, one in found.items()} == {
            "gone": (State.WRONG, True),
            "eve": (State.NOTE, False),
        }
        assert found["eve"].fix.startswith("if that hive is gone: docker rm --force ")
        assert len(look(here, fix=True).mended) == 1
        assert {one.agent for one in seen(here)} == {"ada", "eve"}
    finally:
        for one in seen(here):
            asyncio.run(one.remove())


def test_an_agent_that_runs_twice_is_wrong(data: Path, docker: DockerEngine) -> None:
    here = site(data, docker.socket)
    run(
        docker.runtime(data / "agents", hive_id=hive_id(data), program=PROGRAM),
        replace(spec_in(data), image=SMALL_IMAGE),
    )
    run(process(data), spec_in(data))
    try:
        found = look(here, fix=True)
        assert (states(found), found.mended) == ([State.WRONG], [])
        assert found.findings[0].text.startswith("ada runs more than once: ")
        assert "docker rm --force" in found.findings[0].fix
    finally:
        for one in seen(here):
            asyncio.run(one.remove())


def test_an_engine_that_does_not_answer_hides_nothing_else(data: Path) -> None:
    (data / "dead.sock").touch()
    run(process(data), spec_in(data, "gone"))
    assert states(look(site(data, data / "dead.sock"))) == [State.WRONG]
