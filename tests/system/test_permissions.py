"""A shell command that needs permission, in a whole hive: the question outlives what dies while it waits."""

import json
import os
import signal
from typing import Any

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

COMMAND = "echo ran >>ran; cat ran"


def waiting(running: Hive) -> list[dict[str, Any]]:
    return list(json.loads(running.cli("questions", "--json"))["questions"])


def state_of(running: Hive) -> Any:
    return running.api("GET", "/agents/ada/state")


def test_a_question_of_permission_outlives_broker_dashboard_and_harness_and_the_command_runs_once() -> None:
    with hive() as running:
        running.cli("spawn", "ada", "--allow", "git *")
        running.send("ada", f"!bash {COMMAND}\n!send operator done")
        wait_until(lambda: waiting(running))
        (question,) = waiting(running)
        assert (question["asker"], question["permission"]["command"]) == ("ada", COMMAND)
        assert COMMAND in running.cli("questions")
        assert "waits for the operator's permission" in state_of(running)["detail"]

        os.kill(running.process_of("hive_harness", agent="ada"), signal.SIGKILL)
        for service in ("broker", "dashboard"):
            kill(running, service)
        wait_until(lambda: _restarted_agent(running), within_s=60)
        assert [found["id"] for found in waiting(running)] == [question["id"]], "it is the same question"

        running.cli("answer", question["id"], "once")
        wait_until(lambda: "done" in running.answers(), within_s=60)
        state = running.data_dir / "agents" / "ada" / "state"
        assert (state / "ran").read_text() == "ran\n"
        assert waiting(running) == []


def kill(running: Hive, service: str) -> None:
    """Returns when it is back."""
    before = running.pid(service)
    os.kill(running.process_of(f"hive_{service}"), signal.SIGKILL)
    wait_until(lambda: _restarted(running, service, before), within_s=60)


def _restarted(running: Hive, service: str, before: int) -> bool:
    try:
        return running.pid(service) != before
    except Exception:
        return False


def _restarted_agent(running: Hive) -> bool:
    """Its new harness has taken the message up again and waits."""
    found = running.api("GET", "/agents/ada")
    account = found.get("state") or {}
    return found["restarts"] >= 1 and "permission" in account.get("detail", "")


def test_the_model_that_the_operator_chose_outlives_the_hive() -> None:
    with hive() as running:
        running.cli("spawn", "ada", "--model", "sonnet")
        assert "sonnet (config)" in running.cli("model", "ada")
        running.cli("model", "ada", "opus")
        wait_until(lambda: state_of(running)["model"]["active"] == "opus")
        assert running.down() == 0
        running.up()
        wait_until(lambda: running.api("GET", "/agents/ada")["container"] == "running")
        assert "opus (override" in running.cli("model", "ada")
        wait_until(lambda: state_of(running)["model"]["active"] == "opus")
        running.cli("model", "ada", "--clear")
        wait_until(lambda: state_of(running)["model"]["active"] == "sonnet")
