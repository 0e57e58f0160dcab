"""A harness killed with -9: real processes, from the kill to the message in the manager's inbox."""

import os
import re
import signal

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = pytest.mark.system

SOON_S = 10
"""A second at rest; this machine may be busy."""


def notices(running: Hive) -> list[dict[str, object]]:
    """What `system` told the manager of ada's container, oldest first."""
    messages = running.api("GET", "/agents/hm1nd/inbox", params={"limit": 200})["messages"]
    told = [message for message in messages if message["sender"] == "system" and "container of ada" in message["body"]]
    return told[::-1]


def crashes(running: Hive) -> int:
    """How many crashes the notices tell of."""
    counts = [re.search(r"crashed (\d+) more times", str(message["body"])) for message in notices(running)]
    return sum(int(count[1]) if count else 1 for count in counts)


def kill_harness(running: Hive) -> None:
    """And wait until another one answers."""
    os.kill(running.process_of("hive_harness", agent="ada"), signal.SIGKILL)
    before = len(running.answers())
    running.send("ada", "!send operator here again")
    wait_until(lambda: len(running.answers()) > before, within_s=60)


def test_the_manager_has_word_of_a_killed_harness_at_once_and_once() -> None:
    with hive() as running:
        running.cli("spawn", "ada")
        os.kill(running.process_of("hive_harness", agent="ada"), signal.SIGKILL)
        wait_until(lambda: notices(running), within_s=SOON_S)
        (notice,) = notices(running)
        assert "it is started again" in str(notice["body"])
        for _ in range(2):
            kill_harness(running)
        assert [one["id"] for one in notices(running)] == [notice["id"]]


def test_every_crash_is_told_or_counted_once_though_the_broker_is_killed_too() -> None:
    with hive(environment={"HIVE_BROKER_CRASH_NOTE_S": "5"}) as running:
        running.cli("spawn", "ada")
        for _ in range(3):
            kill_harness(running)
            os.kill(running.process_of("hive_broker"), signal.SIGKILL)
        wait_until(lambda: crashes(running) == 3, within_s=60)
        kill_harness(running)
        wait_until(lambda: crashes(running) == 4, within_s=60)
