"""The whole hive as its user runs it: up, a conversation, any process killed, down, up again."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from tests.support.away import answers
from tests.support.hive import Hive, hive
from tests.support.processes import still_alive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        yield started


def test_a_message_is_answered_and_its_life_can_be_traced(running: Hive) -> None:
    message_id = running.send("hm1nd", "are you there?")
    wait_until(lambda: "echo: are you there?" in running.answers())
    wait_until(lambda: state_of(running, message_id) == "acked")
    trace = running.cli("trace", message_id)
    for step in ("accepted", "delivered", "in_turn", "acked"):
        assert step in trace
    assert "echo: are you there?" in trace


def test_two_agents_talk_and_the_answer_reaches_the_operator(running: Hive) -> None:
    running.cli("spawn", "ada")
    running.cli("spawn", "lin")
    running.send("ada", "!send lin !send operator lin heard from ada")
    wait_until(lambda: "lin heard from ada" in running.answers())


KILLED: dict[str, Callable[[Hive], int]] = {
    "broker": lambda hive: hive.process_of("hive_broker"),
    "supervisor": lambda hive: hive.process_of("hive_supervisor"),
    "dashboard": lambda hive: hive.process_of("hive_dashboard"),
    "harness": lambda hive: hive.process_of("hive_harness", agent="hm1nd"),
    "engine": lambda hive: hive.process_of("hive_harness.scripted", agent="hm1nd"),
    "redis": lambda hive: hive.process_of(f"unixsocket:{hive.data_dir}/run/redis/redis.sock"),
}


@pytest.mark.parametrize("victim", KILLED)
def test_whatever_is_killed_in_a_conversation_the_message_is_answered_once(running: Hive, victim: str) -> None:
    message_id = running.send("hm1nd", f"!send operator before {victim}\n!sleep 1\n!send operator after {victim}")
    wait_until(lambda: f"before {victim}" in running.answers())
    os.kill(KILLED[victim](running), signal.SIGKILL)
    wait_until(lambda: answers(running).count(f"after {victim}") == 1, within_s=60)
    wait_until(lambda: state_of(running, message_id) == "acked", within_s=60)
    assert answers(running).count(f"before {victim}") == 1
    assert answers(running).count(f"after {victim}") == 1


def test_stopping_leaves_no_process_and_the_next_start_has_everything() -> None:
    with hive() as running:
        running.send("hm1nd", "remember me")
        wait_until(lambda: "echo: remember me" in running.answers())
        unfinished = running.send("hm1nd", "!sleep 2\n!send operator done after all")
        wait_until(lambda: state_of(running, unfinished) == "in_turn")
        before = running.processes()
        assert running.down() == 0
        assert still_alive(before) == {}
        assert not (running.data_dir / "run" / "hive.json").exists()
        assert running.cli("status", status=6)
        running.up()
        wait_until(lambda: "done after all" in running.answers())
        assert running.answers() == ["echo: remember me", "done after all"]


def test_a_killed_launcher_leaves_no_process_and_the_next_start_works() -> None:
    with hive() as running:
        before = running.processes()
        assert running.process
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not still_alive(before))
        running.up()
        running.send("hm1nd", "again")
        wait_until(lambda: "echo: again" in running.answers())


def test_a_second_hive_on_the_same_data_is_refused_with_the_pid(running: Hive) -> None:
    assert running.process
    refused = running.cli("up", "--port", "0", status=4)
    assert str(running.process.pid) in refused


def state_of(hive: Hive, message_id: str) -> str:
    return str(hive.api("GET", f"/messages/{message_id}")["message"]["state"])
