"""A message whose turn kills its harness each time: counted over restarts, of the supervisor too, and then given up."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TRIES: Final = 5
POISON: Final = "!sleep 60"
"""Long enough for its harness to be killed in each of its turns, from outside: what it runs cannot do that."""


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        started.cli("spawn", "ada")
        yield started


def test_a_message_that_kills_its_harness_each_time_is_given_up_after_five_tries(running: Hive) -> None:
    poison = running.send("ada", POISON)
    after = running.send("ada", "!send operator I am well")
    for taken_up in range(1, TRIES + 2):
        wait_until(partial(is_taken_up, running, poison, taken_up), within_s=60)
        os.kill(running.process_of("hive_harness", agent="ada"), signal.SIGKILL)
        if taken_up == 2:
            os.kill(running.pid("supervisor"), signal.SIGKILL)
    wait_until(lambda: message(running, poison)["state"] == "dead", within_s=60)
    wait_until(lambda: message(running, after)["state"] == "acked", within_s=90)
    found = running.cli("dead-letters")
    assert poison in found
    assert f"taken up {TRIES + 1} times without an end" in found
    assert attempts(running, poison) == TRIES + 1
    wait_until(lambda: is_told(running, "hm1nd", poison) and is_told(running, "operator", poison))
    wait_until(lambda: "I am well" in running.answers())
    assert running.answers().count("I am well") == 1


def is_taken_up(running: Hive, message_id: str, times: int) -> bool:
    return attempts(running, message_id) == times


def is_told(running: Hive, name: str, message_id: str) -> bool:
    inbox = running.api("GET", f"/agents/{name}/inbox", params={"limit": 50})["messages"]
    return any(message_id in letter["body"] and letter["sender"] == "system" for letter in inbox)


def message(running: Hive, message_id: str) -> Any:
    return running.api("GET", f"/messages/{message_id}")["message"]


def attempts(running: Hive, message_id: str) -> int:
    return int(message(running, message_id)["attempts"])
