"""A harness with the real Claude Code, which talks to a scripted model on loopback."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running
from tests.support.model_server import Failure, ModelRequest, ModelServer, Reply, ToolUse
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import Engine
from hive_contracts.turns import TurnNote, TurnPartial, TurnText, TurnToolCall, TurnToolResult
from hive_harness.config import HarnessConfig
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]

Story = Callable[[Outside, Harness], Awaitable[None]]


def config_of(directory: Path, claude: Path, model: ModelServer, **settings: float) -> HarnessConfig:
    found = config_for(directory, Engine.CLAUDE, **settings)
    return replace(found, claude=claude, credentials=model.credentials())


def play(config: HarnessConfig, story: Story) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config, bus) as harness:
            await story(world, harness)

    asyncio.run(main())


def answer_the_operator(request: ModelRequest) -> Reply:
    """Calls `send` once for each message, then ends the turn."""
    if request.results:
        return Reply("sent")
    return Reply("", (ToolUse("mcp__hyperhive__send", {"to": "operator", "body": "the answer"}),))


def test_a_message_becomes_a_turn_and_the_models_send_reaches_the_outbox(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    model.script = answer_the_operator

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("what is the answer?")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok", ended
        assert [(send.to, send.body, send.cause) for send in world.sent] == [("operator", "the answer", head)]
        assert world.events(TurnToolResult)[0].text.startswith("sent m-")
        assert ended["usage"]["context"] == 100
        assert ended["cost_usd"] > 0
        await world.at_rest()
        assert await world.bus.depth(streams.inbox(AGENT)) == 0

    play(config_of(tmp_path, claude, model), story)
    first = model.requests[0]
    assert "what is the answer?" in first.last
    assert "You are alice, an agent of a hive" in first.system
    ours = {tool for tool in first.tools if tool.startswith("mcp__hyperhive__")}
    assert {"mcp__hyperhive__recv", "mcp__hyperhive__send", "mcp__hyperhive__whoami"} <= ours
    assert set(first.tools) - ours == {"Bash", "Edit", "Glob", "Grep", "Read", "Write"}


def test_a_second_message_goes_on_in_the_session_and_so_it_does_after_a_restart(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    config = config_of(tmp_path, claude, model)
    sessions = set()

    async def two_messages(world: Outside, harness: Harness) -> None:
        for body in ("the first", "the second"):
            await world.deliver(body)
            sessions.add((await world.turn_end())["session_id"])
        notes = [note.text for note in world.events(TurnNote)]
        assert notes == ["engine started; a new session begins"]

    async def one_more(world: Outside, harness: Harness) -> None:
        await world.deliver("the third")
        sessions.add((await world.turn_end())["session_id"])
        assert "is resumed" in world.events(TurnNote)[0].text

    play(config, two_messages)
    play(config, one_more)
    assert len(sessions) == 1
    conversation = "\n".join(model.requests[-1].texts)
    assert [body for body in ("the first", "the second", "the third") if body in conversation] == [
        "the first",
        "the second",
        "the third",
    ]


def test_a_session_that_is_gone_is_begun_anew(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    config = config_of(tmp_path, claude, model)
    lost = "11111111-1111-4111-8111-111111111111"
    (config.state_dir / "session.json").write_text(f'{{"engine": "claude", "session_id": "{lost}"}}')

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("hello")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok"
        assert ended["session_id"] != lost
        assert any("cannot be resumed" in note.text for note in world.events(TurnNote))

    play(config, story)


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Failure(401, "authentication_error"), "auth"),
        (
            Failure(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
            "prompt_too_long",
        ),
        (Failure(400, "invalid_request_error", "no such thing"), "failed"),
        (Failure(429, "rate_limit_error"), "rate_limited"),
        (Failure(529, "overloaded_error"), "overloaded"),
    ],
)
def test_a_failure_of_the_model_api_is_told_apart_and_the_message_is_tried_again(
    tmp_path: Path, claude: Path, model: ModelServer, failure: Failure, outcome: str
) -> None:
    model.script = lambda request: failure
    config = config_of(tmp_path, claude, model)
    config = replace(config, credentials={**config.credentials, "CLAUDE_CODE_MAX_RETRIES": "0"})

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("hello")
        ended = await world.turn_end()
        assert ended["outcome"] == outcome, ended
        model.script = lambda request: Reply("well again")
        again = await world.until(lambda event: event.type == "turn.ended" and event.data["messages"] == [head])
        assert again.data["outcome"] == "ok"

    play(config, story)


def test_built_in_tools_work_and_what_is_not_allowed_is_not_there(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    def script(request: ModelRequest) -> Reply:
        if request.results:
            return Reply("done")
        return Reply("", (ToolUse("Bash", {"command": "env; pwd"}), ToolUse("WebFetch", {"url": "http://x/"})))

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("look around")
        assert (await world.turn_end())["outcome"] == "ok"
        assert [call.name for call in world.events(TurnToolCall)] == ["Bash", "WebFetch"]
        bash, fetch = world.events(TurnToolResult)
        assert str(tmp_path / "state") in bash.text
        assert "HIVE_" not in bash.text
        assert not bash.is_error
        assert fetch.is_error

    play(config_of(tmp_path, claude, model), story)


def test_recv_takes_a_second_message_into_the_running_turn(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    def script(request: ModelRequest) -> Reply:
        if request.results:
            return Reply("read")
        return Reply("", (ToolUse("mcp__hyperhive__recv", {"wait_seconds": 20}),))

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        first = await world.deliver("one")
        await world.until(of_type("turn.tool_call"))
        second = await world.deliver("two", sender="bob")
        ended = await world.turn_end()
        assert ended["messages"] == [first, second]
        assert world.events(TurnToolResult)[0].text == f"Message {second} from bob:\n\ntwo"
        await world.at_rest()
        assert await world.bus.depth(streams.inbox(AGENT)) == 0

    play(config_of(tmp_path, claude, model), story)


def test_an_engine_that_is_killed_in_a_turn_is_started_again_and_the_session_resumed(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("remember this")
        await world.turn_end()
        model.script = lambda request: Reply("", (ToolUse("mcp__hyperhive__recv", {"wait_seconds": 20}),))
        head = await world.deliver("hello")
        await world.until(of_type("turn.tool_call"))
        assert harness.runner
        assert harness.runner.pid
        model.script = lambda request: Reply("well again")
        # the CLI writes a conversation down a little later; killed before that, it has none to resume
        await until(lambda: any("remember this" in path.read_text() for path in tmp_path.rglob("*.jsonl")))
        os.kill(harness.runner.pid, signal.SIGKILL)
        assert (await world.turn_end())["outcome"] == "engine_crashed"
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("ok", [head])
        assert "is resumed" in world.events(TurnNote)[-1].text

    play(config_of(tmp_path, claude, model), story)
    assert "remember this" in "\n".join(model.requests[-1].texts)


def test_what_the_model_says_is_told_while_it_says_it(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    model.script = lambda request: Reply("one two three")

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("count")
        assert (await world.turn_end())["outcome"] == "ok"
        said = [event.data["text"] for event in world.seen if event.type in {TurnPartial.TYPE, TurnText.TYPE}]
        assert said == ["one two ", "one two three"]

    play(config_of(tmp_path, claude, model), story)
