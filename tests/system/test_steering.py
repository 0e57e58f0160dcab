"""An agent of a whole hive is steered from the command line, and tells the truth of itself meanwhile."""

import pytest
from tests.support.hive import hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_a_turn_is_seen_cancelled_and_the_agent_naps_and_wakes() -> None:
    with hive("--engine", "scripted") as running:

        def state() -> dict[str, object]:
            found: dict[str, object] = running.api("GET", "/agents/hm1nd/state")
            return found

        message = running.send("hm1nd", "!bash sleep 600")
        wait_until(lambda: state().get("detail") == "Bash: sleep 600", within_s=60)
        assert state()["state"] == "thinking"
        running.cli("cancel", "hm1nd")
        assert state()["state"] == "idle"
        wait_until(lambda: "the operator cancelled it" in running.cli("trace", message), within_s=60)
        assert "acked" in running.cli("trace", message)
        running.cli("nap", "hm1nd", "600")
        assert state()["state"] == "napping"
        running.cli("send", "hm1nd", "--urgent", "are you there?")
        wait_until(lambda: "echo: are you there?" in running.answers(), within_s=60)
        running.cli("stop", "hm1nd")
        running.cli("pause", "hm1nd", status=4)
