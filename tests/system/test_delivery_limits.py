"""What the broker stops by itself in a running hive: a message that crashes its engine, agents that go in circles."""

from collections.abc import Iterator

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

RING = ("ada", "lin", "eve")
HOPS = 32


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    quick = {"HIVE_HARNESS_RETRY_FIRST_S": "0.05", "HIVE_HARNESS_RETRY_LIMIT_S": "0.2"}
    with hive(environment=quick) as started:
        for name in RING:
            started.cli("spawn", name)
        yield started


def test_a_message_that_crashes_its_engine_is_given_up_and_the_next_is_handled(running: Hive) -> None:
    poison = running.send("ada", "!crash")
    running.send("ada", "are you well?")
    wait_until(lambda: "echo: are you well?" in running.answers(), within_s=60)
    assert _state(running, poison) == "dead"
    listed = running.cli("dead-letters")
    assert poison in listed
    assert "5 tries failed, the last with: engine_crashed" in listed
    steps = running.api("GET", f"/messages/{poison}")["message"]["steps"]
    assert [step["state"] for step in steps].count("failed") == 5
    told = [message for message in _inbox(running, "operator") if message["sender"] == "system"]
    assert [poison in message["body"] for message in told] == [True]

    assert "delivered again" in running.cli("redrive", poison)
    wait_until(lambda: "sent again by the operator" in running.cli("trace", poison))
    wait_until(lambda: _state(running, poison) == "dead", within_s=60)
    running.send("ada", "and now?")
    wait_until(lambda: "echo: and now?" in running.answers(), within_s=60)
    assert running.cli("redrive", "m-unknown", status=3)


def test_three_agents_that_thank_each_other_are_stopped_and_the_operator_is_told(running: Hive) -> None:
    """A chain that is far longer than the limit, as a script cannot go on for ever in a message of 4 KiB."""
    circle = "".join(f"!send {RING[(number + 1) % 3]} " for number in range(3 * HOPS))
    first = running.send("ada", f"{circle}thank you")

    def notices(name: str) -> list[str]:
        found = [message for message in _inbox(running, name) if message["sender"] == "system"]
        return [message["body"] for message in found if first in message["body"]]

    wait_until(lambda: notices("operator"), within_s=120)
    (notice,) = notices("operator")
    assert f"this conversation is {HOPS} messages long without a word from the operator" in notice
    wait_until(lambda: len(notices("hm1nd")) == 1)
    conversation = running.api("GET", f"/messages/{first}")["conversation"]
    in_ring = [message for message in conversation if message["recipient"] in RING]
    assert len(in_ring) == HOPS + 1
    assert max(message["hop"] for message in in_ring) == HOPS
    wait_until(lambda: all(_state(running, message["id"]) == "acked" for message in in_ring))
    running.send("lin", "still there?")
    wait_until(lambda: "echo: still there?" in running.answers())


def test_a_broadcast_reaches_every_agent_once(running: Hive) -> None:
    sent = running.cli("send", "*", "!send operator heard it")
    assert "sent to 4: ada, eve, hm1nd, lin" in sent
    wait_until(lambda: running.answers().count("heard it") == 4)


def _state(running: Hive, message_id: str) -> str:
    return str(running.api("GET", f"/messages/{message_id}")["message"]["state"])


def _inbox(running: Hive, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = running.api("GET", f"/agents/{name}/inbox", params={"limit": 200})["messages"]
    return found
