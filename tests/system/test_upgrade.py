"""A hive starts on what the release before left, and goes on where that stopped."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.hive import Hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

PREVIOUS = Path(__file__).parents[1] / "runtime" / "previous"
PLACES = {
    "broker": "broker.sqlite",
    "approvals": "approvals.sqlite",
    "supervisor": "supervisor.sqlite",
    "dashboard": "dashboard.sqlite",
    "events": "agents/ada/events.sqlite",
}


def test_a_hive_of_the_release_before_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name, place in PLACES.items():
        path = data / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as db:
            db.executescript((PREVIOUS / f"{name}.sql").read_text())
    running = Hive(data, ("--engine", "scripted", "--runtime", "process"))
    try:
        running.up()
        bodies = [message["body"] for message in json.loads(running.cli("inbox", "--json"))["messages"]]
        assert "an answer from before" in bodies
        assert "written under the release before" in running.cli("trace", "m-aaaaaaaaaaaaaaaa")
        assert "asked for before" in running.cli("approvals", "--all", "--json")
        running.cli("send", "ada", "!send operator still ada")
        wait_until(lambda: "still ada" in running.cli("inbox"), within_s=60)
        assert (data / "approvals.sqlite.schema-1").exists()
        assert (data / "dashboard.sqlite.schema-1").exists()
        if os.geteuid() == 0:
            assert (data / "agents/ada/state").stat().st_uid == 1073872896 + 1000
    finally:
        if running.process and running.process.poll() is None:
            running.down()
