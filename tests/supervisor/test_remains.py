"""What a hive that was killed left running in containers is ended, and its end passes for no crash."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.back_ends import PROGRAM, spec_in

from hive_contracts.agents import Role
from hive_runtime.checkup import State, examine
from hive_runtime.hive_id import hive_id
from hive_supervisor.config import Isolation, SupervisorSettings
from hive_supervisor.doctor.registry import CHECKS
from hive_supervisor.doctor.sightings import seen
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.life import Life, Run
from hive_supervisor.remains import end_remains
from hive_supervisor.runtimes.process import ProcessRuntime
from hive_supervisor.store import NewAgent, SupervisorStore

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A hive whose agent ada runs, and whose supervisor does not."""
    hive_id(tmp_path)
    store = SupervisorStore(tmp_path / "supervisor.sqlite")
    with store.unit() as unit:
        unit.add(NewAgent("ada", Role.AGENT), datetime.now(UTC))
        unit.keep_life("ada", Life(run=Run.UP))
    store.close()
    asyncio.run(_start(tmp_path, "ada"))
    here = Site(tmp_path, SupervisorSettings(docker_socket="/none"), ImageSettings(), dict(os.environ), idle=True)
    yield here
    for one in seen(here):
        asyncio.run(one.remove())


async def _start(data: Path, name: str) -> None:
    async with (
        asyncio.timeout(60),
        aclosing(ProcessRuntime(data / "agents", Isolation.NONE, program=PROGRAM)) as runtime,
    ):
        await runtime.create(spec_in(data, name))
        await runtime.start(name)


def test_a_container_that_was_left_is_ended_once_and_for_no_crash(site: Site) -> None:
    assert end_remains(site) == ["ada"]
    assert [one for one in seen(site) if one.runs] == []
    store = SupervisorStore(site.data_dir / "supervisor.sqlite")
    assert [agent.life.run for agent in store.agents()] == [Run.STOPPING]
    store.close()
    assert end_remains(site) == []


def test_the_doctor_names_a_container_that_was_left(site: Site) -> None:
    (found,) = examine(CHECKS, site, only=["containers"]).findings
    assert found.state is State.NOTE
    assert "of ada runs, though its hive does not" in found.text
    assert found.fix == "hive up goes on with it, hive down ends it"
