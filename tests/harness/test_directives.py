"""The scripted engine inside a harness: each directive, and what becomes of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running

from hive_contracts import streams
from hive_contracts.messages import MessageRefused, SendMessage
from hive_contracts.turns import TurnNote, TurnStarted, TurnText, TurnToolCall, TurnToolResult
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside], Awaitable[None]]


def play(directory: Path, story: Story, **settings: float) -> None:
    """`story` beside a running harness."""

    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(directory, **settings), bus):
            await story(world)

    asyncio.run(main())


def test_a_body_without_directives_from_the_operator_is_echoed(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        head = await world.deliver("hello there")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok"
        assert ended["messages"] == [head]
        await world.at_rest()
        assert await world.bus.depth(streams.inbox(AGENT)) == 0
        assert world.sent == [SendMessage(to="operator", body="echo: hello there", in_reply_to=head, cause=head)]

    play(tmp_path, story)


def test_a_body_without_directives_from_an_agent_gets_no_reply(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("hello there", sender="bob")
        assert (await world.turn_end())["outcome"] == "ok"
        assert world.sent == []
        assert world.events(TurnText)[0].text == "bob wrote; nothing to do."

    play(tmp_path, story)


def test_a_body_of_the_greatest_length_is_echoed_cut(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("ä" * 2048)
        assert (await world.turn_end())["outcome"] == "ok"
        assert len(world.sent[0].body.encode()) in {4095, 4096}

    play(tmp_path, story)


def test_send_and_call_reach_the_tools(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver('!send bob over to you\n!call whoami {}\n!call send {"to": "carol", "body": "hi"}')
        assert (await world.turn_end())["tool_calls"] == 3
        assert [(send.to, send.body) for send in world.sent] == [("bob", "over to you"), ("carol", "hi")]
        assert json.loads(world.events(TurnToolResult)[1].text)["name"] == AGENT
        assert [call.name for call in world.events(TurnToolCall)] == [
            "mcp__hyperhive__send",
            "mcp__hyperhive__whoami",
            "mcp__hyperhive__send",
        ]

    play(tmp_path, story)


def test_a_refused_send_is_a_tool_error_with_advice(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        world.refuse = lambda send: MessageRefused(
            sender=AGENT, to=send.to, code="unknown_recipient", reason="nobody is called 'zoe'", retry=True
        )
        await world.deliver("!send zoe hello")
        assert (await world.turn_end())["outcome"] == "ok"
        result = world.events(TurnToolResult)[0]
        assert result.is_error
        assert result.text == "nobody is called 'zoe'. Try again with other arguments."

    play(tmp_path, story)


def test_bash_write_and_edit_work_in_the_state_directory(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("!write note.txt one two\n!edit note.txt two => three\n!bash cat note.txt\n!bash exit 3")
        assert (await world.turn_end())["outcome"] == "ok"
        results = world.events(TurnToolResult)
        assert [result.text for result in results[2:]] == ["one three", "exit status 3"]
        assert results[3].is_error
        assert (tmp_path / "state" / "note.txt").read_text() == "one three\n"

    play(tmp_path, story)


def test_say_sleep_and_usage_shape_the_turn(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("!say thinking aloud\n!sleep 0.01\n!usage 1200 30")
        ended = await world.turn_end()
        assert (ended["usage"]["input"], ended["usage"]["output"]) == (1200, 30)
        assert ended["cost_usd"] > 0
        assert world.events(TurnText)[0].text == "thinking aloud"

    play(tmp_path, story)


def test_a_directive_that_cannot_be_read_is_told_and_the_rest_is_done(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("!sleep long\nplain words\n!say on we go")
        assert (await world.turn_end())["outcome"] == "ok"
        texts = [event.text for event in world.events(TurnText)]
        assert texts[0].startswith("Cannot do '!sleep long'")
        assert texts[1] == "on we go"

    play(tmp_path, story)


def test_each_failure_has_its_outcome_and_the_message_stays(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        head = await world.deliver("!fail rate_limited")
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("rate_limited", [head])
        waiting = await world.until(lambda event: event.data.get("state", {}).get("state") == "rate_limited")
        state = waiting.data["state"]
        assert state["until"]
        assert state["detail"].startswith("rate_limited: ")
        assert await world.bus.depth(streams.inbox(AGENT)) == 1

    play(tmp_path, story)


@pytest.mark.slow
def test_the_kinds_of_failure_are_told_apart(tmp_path: Path) -> None:
    expected = {
        "auth": "auth",
        "overloaded": "overloaded",
        "prompt_too_long": "prompt_too_long",
        "error": "failed",
        "rate_limited": "rate_limited",
    }
    for kind, outcome in expected.items():

        async def story(world: Outside, kind: str = kind, outcome: str = outcome) -> None:
            await world.deliver(f"!fail {kind}")
            assert (await world.turn_end())["outcome"] == outcome

        play(tmp_path / kind, story)


def test_a_crash_is_retried_on_the_same_message_and_marked_redelivered(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        head = await world.deliver("!call whoami\n!crash")
        await world.deliver("!say second", sender="bob")
        ended = await world.turn_end()
        assert ended["outcome"] == "engine_crashed"
        assert "exit status 1" in ended["reason"]
        started = (await world.until(of_type("turn.started"))).payload(TurnStarted)
        assert started.messages == (head,)
        assert started.redelivered
        assert "delivered before" in started.prompt

    play(tmp_path, story)


@pytest.mark.slow
def test_a_hanging_turn_is_ended_and_its_engine_with_it(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("!hang")
        ended = await world.turn_end()
        assert ended["outcome"] == "engine_hung"

    play(tmp_path, story, silence_limit_s=1)


def test_a_session_goes_on_in_a_warm_engine_and_in_a_new_one(tmp_path: Path) -> None:
    async def story(world: Outside) -> None:
        await world.deliver("!say one")
        first = await world.turn_end()
        await world.deliver("!say two")
        second = await world.turn_end()
        assert first["session_id"] == second["session_id"]
        assert json.loads((tmp_path / "state/session.json").read_text())["session_id"] == first["session_id"]
        notes = [note.text for note in world.events(TurnNote)]
        assert notes == ["engine started; a new session begins"]

    play(tmp_path, story)

    async def after_restart(world: Outside) -> None:
        await world.deliver("!say three")
        third = await world.turn_end()
        counter = tmp_path / "state/scripted-sessions" / f"{third['session_id']}.json"
        assert json.loads(counter.read_text()) == {"turns": 3}
        assert "is resumed" in world.events(TurnNote)[0].text

    play(tmp_path, after_restart)


def test_a_session_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/session.json").write_text('{"engine": "scripted", "session_id": "lost"}')

    async def story(world: Outside) -> None:
        await world.deliver("!say hello")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok"
        assert ended["session_id"] != "lost"
        assert any("cannot be resumed" in note.text for note in world.events(TurnNote))

    play(tmp_path, story)
