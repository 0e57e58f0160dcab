"""A supervisor that is killed, ended or away: containers run on, nothing is resurrected, no end is missed."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis
from tests.support.hive import Hive, hive
from tests.support.processes import alive, descendants
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as it:
        for name in ("ada", "lin"):
            it.cli("spawn", name)
        it.cli("stop", "lin")
        yield it


def harness(running: Hive, name: str = "ada") -> int:
    return running.process_of("hive_harness", agent=name)


def container(running: Hive, name: str) -> str:
    return str(running.api("GET", f"/agents/{name}")["container"])


def facts(running: Hive, kind: str, agent: str) -> list[dict[str, Any]]:
    """The data of all facts of this kind about `agent`, each fact once however often it was told."""
    password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
    socket = str(running.data_dir / "run" / "redis" / "redis.sock")
    with closing(
        Redis(unix_socket_path=socket, username="hive-supervisor", password=password, decode_responses=True)
    ) as redis:
        entries: Any = redis.xrange("hive:events")
    told = {fields["id"]: json.loads(fields["data"]) for _, fields in entries if fields["type"] == kind}
    return [data for data in told.values() if data["agent"] == agent]


def another_supervisor(running: Hive, number: signal.Signals) -> None:
    """End this one; returns when the next one is at work."""
    before = running.pid("supervisor")
    os.kill(before, number)
    wait_until(lambda: running.pid("supervisor") != before, within_s=60)
    running.cli("stop", "lin")  # answered: it has found everything


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_containers_run_on_and_what_was_stopped_stays_so(running: Hive, number: signal.Signals) -> None:
    before, starts = harness(running), len(facts(running, "container.started", "ada"))
    another_supervisor(running, number)
    running.cli("start", "ada")
    assert harness(running) == before
    assert container(running, "lin") == "stopped"
    assert len(facts(running, "container.started", "ada")) == starts
    assert facts(running, "container.crashed", "ada") == []
    running.send("ada", "!send operator still here")
    wait_until(lambda: "still here" in running.answers())


def test_an_end_that_no_supervisor_saw_is_told_once_and_it_comes_back(running: Hive) -> None:
    supervisor, killed = running.pid("supervisor"), harness(running)
    os.kill(supervisor, signal.SIGSTOP)  # it sees nothing of what follows
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not alive(killed))
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: running.pid("supervisor") != supervisor, within_s=60)
    wait_until(lambda: facts(running, "container.crashed", "ada"), within_s=60)
    running.cli("start", "ada")
    assert harness(running) != killed
    another_supervisor(running, signal.SIGKILL)
    (crash,) = facts(running, "container.crashed", "ada")
    assert crash["signal"] == signal.SIGKILL
    assert crash["uptime_seconds"] > 0


def test_a_wanted_stop_is_no_crash(running: Hive) -> None:
    crashes = len(facts(running, "container.crashed", "ada"))
    running.cli("restart", "ada")
    running.cli("stop", "ada")
    running.cli("start", "ada")
    assert len(facts(running, "container.crashed", "ada")) == crashes


def test_containers_outlive_a_hive_that_was_killed_whole_and_the_next_one_goes_on_with_them(running: Hive) -> None:
    assert running.process
    before, manager = harness(running), harness(running, "hm1nd")
    crashes = len(facts(running, "container.crashed", "ada"))
    supervisor = running.pid("supervisor")
    os.kill(supervisor, signal.SIGSTOP)  # it is not to hear that the hive died
    running.process.kill()
    running.process.wait()
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not alive(supervisor))
    assert alive(before)
    running.up()
    assert "is not ready" not in running.output
    wait_until(lambda: container(running, "ada") == "running", within_s=60)
    assert (harness(running), harness(running, "hm1nd")) == (before, manager)
    assert len(facts(running, "container.crashed", "ada")) == crashes
    running.send("ada", "!send operator outlived it all")
    wait_until(lambda: "outlived it all" in running.answers(), within_s=60)


def test_the_end_of_the_hive_ends_the_containers(running: Hive) -> None:
    crashes = len(facts(running, "container.crashed", "ada"))
    processes = running.processes() | descendants(harness(running))
    assert running.down() == 0
    wait_until(lambda: not any(alive(pid) for pid in processes))
    running.up()
    wait_until(lambda: container(running, "ada") == "running", within_s=60)
    assert container(running, "lin") == "stopped"
    assert len(facts(running, "container.crashed", "ada")) == crashes
