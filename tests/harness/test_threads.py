"""The tools for questions and reminders, from the scripted engine through a real broker and back."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.broker.post import inbox
from tests.support.agent_rig import AGENT
from tests.support.small_hive import World, play
from tests.support.waiting import until

from hive_contracts.messages import SendMessage
from hive_contracts.questions import AnswerQuestion, AskQuestion
from hive_contracts.turns import TurnToolResult


def call(tool: str, **arguments: Any) -> str:
    return f"!call {tool} {json.dumps(arguments)}"


def test_the_answer_of_the_operator_wakes_the_agent_that_asked(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.tell(call("ask_operator", question="Which?", options=["A", "B"])))["outcome"] == "ok"
        (question,) = world.open_to("operator")
        assert (question.asker, question.options) == (AGENT, ("A", "B"))
        assert world.results()[-1].startswith(f"asked operator, question {question.id};")
        await world.post("operator", AnswerQuestion(id=question.id, answer="!send operator going on"))
        assert (await world.outside.turn_end())["outcome"] == "ok"
        await until(lambda: world.inbox("operator") == ["going on"])

    play(tmp_path, story)


def test_agents_ask_and_answer_each_other(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell(call("ask", to="bob", question="How late?", ttl_seconds=600))
        (question,) = world.open_to("bob")
        (asked,) = [message.body for message in await inbox(world.bus, "bob")]
        assert asked.startswith("How late?")
        await world.post("bob", AskQuestion(question="And you?", to=AGENT))
        await world.outside.turn_end()
        (mine,) = world.open_to(AGENT)
        await world.tell(call("open_threads"))
        threads = json.loads(world.results()[-1])
        assert [item["id"] for item in threads["asked"]] == [question.id]
        assert [(item["id"], item["from"]) for item in threads["to_answer"]] == [(mine.id, "bob")]
        await world.tell(call("answer", id=mine.id, answer="early"), call("answer", id=mine.id, answer="late"))
        assert world.results()[-2] == f"answered {mine.id}"
        assert f"{mine.id} was answered already, by {AGENT}: 'early'. Try again" in world.results()[-1]
        assert (await inbox(world.bus, "bob"))[-1].body.endswith("Answer:\nearly")

    play(tmp_path, story)


def test_a_reminder_comes_back_and_a_cancelled_one_does_not(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell(call("remind", message="never", delay_seconds=600))
        await world.tell(call("open_threads"))
        (waiting,) = json.loads(world.results()[-1])["reminders"]
        await world.tell(call("cancel_thread", id=waiting["id"]))
        assert world.results()[-1] == f"[cancelled] {waiting['id']}"
        await world.tell(call("remind", message="!send operator reminded", delay_seconds=0))
        await world.outside.turn_end()
        await until(lambda: world.inbox("operator") == ["reminded"])

    play(tmp_path, story)


def test_a_turn_that_is_run_again_asks_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        lines = (
            call("ask_operator", question="Twice?"),
            call("remind", message="m", delay_seconds=600),
            "!fail overloaded",
        )
        await world.post("operator", SendMessage(to=AGENT, body="\n".join(lines)))
        for _ in range(2):
            assert (await world.outside.turn_end())["outcome"] != "ok"
        assert len(world.open_to("operator")) == 1
        assert len({result.split(";")[0] for result in world.results() if result.startswith("asked")}) == 1

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (call("ask_operator", question=" "), "the question is empty"),
        (call("ask", to="Bob!", question="x"), "'Bob!' is not an agent name"),
        (call("ask", to="zoe", question="x"), "there is nobody called 'zoe'"),
        (call("ask", to=AGENT, question="x"), "ask yourself"),
        (call("answer", id="q-none", answer="x"), "there is no question 'q-none'"),
        (call("remind", message="x"), "give either `delay_seconds` or `at`"),
        (call("remind", message="x", at="soon"), "at: Input should be a valid datetime"),
        (call("cancel_thread", id="r-none"), "there is no reminder 'r-none'"),
    ],
)
def test_bad_arguments_are_a_tool_error_that_asks_for_others(tmp_path: Path, line: str, told: str) -> None:
    async def story(world: World) -> None:
        await world.tell(line)
        (result,) = world.outside.events(TurnToolResult)
        assert result.is_error
        assert told in result.text
        assert result.text.endswith("Try again with other arguments.")

    play(tmp_path, story)
