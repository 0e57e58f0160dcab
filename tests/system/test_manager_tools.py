"""The manager looks after another agent with its tools; an ordinary agent has none, and cannot forge their wishes."""

import json

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def results(running: Hive, name: str) -> list[str]:
    """What tools have answered to `name`."""
    events = running.api("GET", f"/agents/{name}/events", params={"limit": 1000})["events"]
    return [event["data"]["text"] for event in events if event["type"] == "turn.tool_result"]


def call(running: Hive, who: str, tool: str, **arguments: object) -> str:
    return tell(running, who, f"!call {tool} {json.dumps(arguments)}")


def tell(running: Hive, who: str, directive: str) -> str:
    """What the tool answered that `directive` makes `who` use."""
    before = len(results(running, who))
    running.send(who, directive)
    wait_until(lambda: len(results(running, who)) > before, within_s=60)
    return results(running, who)[-1]


def test_the_manager_restarts_an_agent_and_reads_what_it_wrote() -> None:
    with hive() as running:
        running.cli("spawn", "ada")
        agents = {agent["name"]: agent for agent in json.loads(call(running, "hm1nd", "list_agents"))}
        assert agents["ada"]["container"] == "running"
        restarts = running.api("GET", "/agents/ada")["container_since"]
        assert call(running, "hm1nd", "restart", name="ada") == "ada is running"
        wait_until(lambda: running.api("GET", "/agents/ada")["container_since"] != restarts)
        assert call(running, "hm1nd", "stop", name="ada") == "ada is stopped"
        assert call(running, "hm1nd", "start", name="ada") == "ada is running"
        assert "harness" in call(running, "hm1nd", "get_logs", name="ada", lines=20)
        assert "to yourself" in call(running, "hm1nd", "stop", name="hm1nd")
        assert "no agent called zoe" in call(running, "hm1nd", "restart", name="zoe")
        assert "no such tool" in call(running, "ada", "stop", name="hm1nd")
        assert running.api("GET", "/agents/hm1nd")["container"] == "running"
