"""Who is no longer there: stopped, destroyed, purged, never made. Real processes, from the tool call to the answer."""

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = pytest.mark.system


def told(running: Hive, words: str) -> bool:
    return any(words in body for body in running.answers())


def calls_send(running: Hive, to: str, mark: str) -> str:
    """What the tool `send` said to hm1nd, which reports its turn's tool results."""
    running.send("hm1nd", f'!call send {{"to": "{to}", "body": "{mark}"}}')
    found: list[str] = []

    def answered() -> bool:
        events = running.api("GET", "/agents/hm1nd/events", params={"limit": 1000})["events"]
        results = [str(event["data"]) for event in events if event["type"] == "turn.tool_result"]
        calls = [event for event in events if event["type"] == "turn.tool_call" and mark in str(event["data"])]
        if calls and len(results) >= len([e for e in events if e["type"] == "turn.tool_call"]):
            found[:] = [results[-1]]
        return bool(found)

    wait_until(answered, within_s=30)
    return found[0]


def test_who_writes_to_an_agent_that_is_not_there_is_told_at_once() -> None:
    with hive() as running:
        running.cli("spawn", "ada")
        running.cli("stop", "ada")
        assert "ada is stopped; the message waits" in calls_send(running, "ada", "first")
        running.cli("start", "ada")
        wait_until(lambda: running.api("GET", "/agents/ada/inbox")["messages"][0]["state"] == "acked")

        assert "state is kept" in running.cli("destroy", "ada", "--yes")
        assert "destroyed" in running.cli("agents")
        assert "ada was destroyed" in calls_send(running, "ada", "second")
        assert "ada" in running.cli("kept")
        assert "ada is back" in running.cli("revive", "ada")
        calls_send(running, "ada", "third")
        wait_until(lambda: running.api("GET", "/agents/ada/inbox")["messages"][0]["state"] == "acked")

        running.cli("destroy", "ada", "--purge", "--yes", status=4)  # it runs
        running.cli("stop", "ada")
        running.cli("destroy", "ada", "--purge", status=2)  # nobody said yes
        running.cli("destroy", "ada", "--purge", "--yes")
        assert not (running.data_dir / "agents" / "ada").exists()
        assert not (running.data_dir / "secrets" / "redis-agent-ada").exists()
        assert "agent-ada" not in (running.data_dir / "redis" / "users.acl").read_text()
        assert "there is nobody called 'ada'" in calls_send(running, "ada", "fourth")
        assert "there is nobody called 'zoe'" in calls_send(running, "zoe", "fifth")


def test_an_agent_writes_to_nobody_but_those_in_its_config() -> None:
    with hive() as running:
        for name in ("lin", "kim"):
            running.cli("spawn", name)
        running.cli("spawn", "ada", "--recipients", "lin")
        assert running.api("GET", "/agents/ada")["config"]["recipients"] == ["lin"]
        running.send("ada", "!send lin hello lin\n!send kim hello kim\n!send hm1nd hello\n!send operator all done")
        wait_until(lambda: told(running, "all done"), within_s=30)
        bodies = {
            name: [m["body"] for m in running.api("GET", f"/agents/{name}/inbox")["messages"]]
            for name in ("lin", "kim", "hm1nd")
        }
        assert bodies["kim"] == []
        assert "hello lin" in bodies["lin"]
        assert "hello" in bodies["hm1nd"]
