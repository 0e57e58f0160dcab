"""An agent of a whole hive asks the operator, the hive restarts, and the answer lets it go on."""

import json
import os
import signal

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_a_question_and_a_reminder_outlive_the_hive_and_the_answer_arrives_once() -> None:
    with hive() as running:
        ask = json.dumps({"question": "Shall I go on?", "options": ["yes", "no"]})
        later = json.dumps({"message": "!send operator reminded", "delay_seconds": 4})
        running.send("hm1nd", f"!call ask_operator {ask}\n!call remind {later}\n!send operator asked")
        wait_until(lambda: "asked" in running.answers())
        (question,) = json.loads(running.cli("questions", "--json"))["questions"]
        assert (question["asker"], question["options"]) == ("hm1nd", ["yes", "no"])
        assert running.down() == 0
        running.up()
        assert question["id"] in running.cli("questions")
        running.cli("answer", question["id"], "!send operator going on")
        wait_until(lambda: {"going on", "reminded"} <= set(running.answers()))
        assert "answered already, by operator" in running.cli("answer", question["id"], "too late", status=4)
        assert sorted(running.answers()) == ["asked", "going on", "reminded"]
        assert "No question waits" in running.cli("questions")


def test_time_runs_on_while_the_broker_is_killed() -> None:
    with hive() as running:
        ask = json.dumps({"question": "Anybody?", "ttl_seconds": 2})
        running.send("hm1nd", f"!call ask_operator {ask}\n!send operator asked")
        wait_until(lambda: "asked" in running.answers())
        os.kill(running.process_of("hive_broker"), signal.SIGKILL)
        wait_until(lambda: len(system_mail(running)) == 1, within_s=60)
        assert system_mail(running)[0].endswith("Answer:\n[expired]")
        assert "expired" in running.cli("questions", "--all")


def system_mail(running: Hive) -> list[str]:
    found = running.api("GET", "/agents/hm1nd/inbox")["messages"]
    return [message["body"] for message in found if message["sender"] == "system"]
