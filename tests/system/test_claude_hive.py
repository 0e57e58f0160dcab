"""The whole hive with the real Claude Code CLI, which talks to a scripted model on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.claude_cli import NoClaude, claude_program
from tests.support.hive import Hive, hive
from tests.support.model_server import ModelRequest, ModelServer, Reply, ToolUse
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.claude, pytest.mark.timeout(300)]

SEND = "mcp__hyperhive__send"


@pytest.fixture(scope="module")
def claude() -> Path:
    try:
        return claude_program()
    except NoClaude as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def story(request: ModelRequest) -> Reply:
    """hm1nd passes on what the operator asks to ada; ada answers the operator."""
    if request.results:
        return Reply("sent")
    header, _, asked = newest_message(request).partition("\n\n")
    word = asked.split()[-1]
    if "from operator" in header:
        return Reply("I ask ada.", (ToolUse(SEND, {"to": "ada", "body": f"please say {word}"}),))
    return Reply("", (ToolUse(SEND, {"to": "operator", "body": f"ada says {word}"}),))


def newest_message(request: ModelRequest) -> str:
    """The newest wake prompt of the conversation; the CLI may put reminders of its own after it."""
    return [text for text in request.texts if text.startswith("Message ")][-1]


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(story) as server:
        yield server


@pytest.fixture(scope="module")
def running(claude: Path, model: ModelServer) -> Iterator[Hive]:
    environment = {**model.credentials(), "HIVE_CLAUDE": str(claude)}
    with hive("--engine", "claude", environment=environment) as started:
        started.cli("spawn", "ada")
        yield started


def conversation_with(model: ModelServer, word: str) -> list[str]:
    """What the model was last shown of the conversation in which hm1nd heard `word`."""
    heard = [r for r in model.requests if "from operator" in newest_message(r) and word in newest_message(r)]
    return heard[-1].texts


def test_a_message_crosses_two_real_agents_and_comes_back(running: Hive, model: ModelServer) -> None:
    running.send("hm1nd", "let ada say alpha")
    wait_until(lambda: "ada says alpha" in running.answers(), within_s=90)
    calls = [event for event in events(running, "hm1nd") if event["type"] == "turn.tool_call"]
    assert calls[-1]["data"]["name"] == SEND
    assert calls[-1]["data"]["input"] == {"to": "ada", "body": "please say alpha"}


def test_a_second_message_continues_the_same_session(running: Hive, model: ModelServer) -> None:
    before = session(running, "hm1nd")
    running.send("hm1nd", "let ada say beta")
    wait_until(lambda: "ada says beta" in running.answers(), within_s=90)
    assert session(running, "hm1nd") == before
    assert any("alpha" in text for text in conversation_with(model, "beta"))


def test_after_down_and_up_the_session_goes_on(running: Hive, model: ModelServer) -> None:
    before = session(running, "hm1nd")
    assert running.down() == 0
    running.up()
    running.send("hm1nd", "let ada say gamma")
    wait_until(lambda: "ada says gamma" in running.answers(), within_s=90)
    assert session(running, "hm1nd") == before
    shown = conversation_with(model, "gamma")
    assert any("alpha" in text for text in shown)
    assert any("beta" in text for text in shown)


def session(hive: Hive, agent: str) -> str:
    found = hive.api("GET", f"/agents/{agent}/state")["session_id"]
    assert found
    return str(found)


def events(hive: Hive, agent: str) -> list[dict[str, Any]]:
    return list(hive.api("GET", f"/agents/{agent}/events", params={"limit": 500})["events"])
