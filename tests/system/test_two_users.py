"""Started by root, a harness is out of reach for what its engine starts: tried from within the agent's own shell."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.hive import hive
from tests.support.two_users import PROBE
from tests.support.waiting import wait_until

from hive_supervisor.runtimes import bubblewrap

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give harness and engine a user each"),
]


@pytest.fixture(scope="module")
def report() -> Iterator[dict[str, Any]]:
    if reason := bubblewrap.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(f"{reason}; install it to run this")
    with hive() as running:
        encoded = base64.b64encode(PROBE.encode()).decode()
        command = f"!bash echo {encoded} | base64 -d | {sys.executable} - >report.json 2>&1"
        running.send("hm1nd", f"{command}\n!send operator x")
        wait_until(lambda: "x" in running.answers())
        running.send("hm1nd", "!bash head -c 40000 /dev/zero | tr '\\0' x\n!send operator y")
        wait_until(lambda: "y" in running.answers())
        running.send("hm1nd", "!bash cat .hive/texts/* | wc -c >whole\n!send operator z")
        wait_until(lambda: "z" in running.answers())
        state = running.data_dir / "agents" / "hm1nd" / "state"
        found = json.loads((state / "report.json").read_text())
        found["whole"] = int((state / "whole").read_text())
        yield found | {"folder": sorted(path.name for path in state.iterdir())}


def test_engine_and_harness_are_two_ordinary_users_and_the_state_is_the_engines(report: dict[str, Any]) -> None:
    engine, harness, state = report["uids"]
    assert engine == state
    assert 0 not in {engine, harness}
    assert engine != harness
    assert harness not in report["groups"]


def test_what_the_engine_starts_has_no_capability_and_cannot_get_one(report: dict[str, Any]) -> None:
    assert {int(mask, 16) for mask in report["capabilities"]} == {0}
    assert "NoNewPrivs:\t1" in report["harness"]


def test_the_harness_has_no_more_than_it_needs_to_start_and_end_an_engine(report: dict[str, Any]) -> None:
    kill, setgid, setuid = 1 << 5, 1 << 6, 1 << 7
    masks = dict(line.split(":\t") for line in report["harness"].splitlines() if line.startswith("Cap"))
    assert int(masks["CapBnd"], 16) == int(masks["CapEff"], 16) == kill | setgid | setuid
    assert int(masks["CapAmb"], 16) == 0


def test_nothing_of_the_harness_is_within_its_reach(report: dict[str, Any]) -> None:
    assert {name: what for name, what in report["reached"].items() if not what.startswith("refused")} == {}
    assert report["redis"].startswith("-NOAUTH")
    assert report["endpoint"] == [401, 405, 404]


def test_what_the_harness_remembers_does_not_lie_in_the_state(report: dict[str, Any]) -> None:
    assert set(report["folder"]) == {".hive", "home", "report.json", "scripted-sessions", "whole"}
    assert report["whole"] >= 40_000, "what the harness writes there for the agent, the agent can read"
