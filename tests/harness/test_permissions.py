"""Permission prompts, from the scripted engine through a real broker to the operator and back."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.broker.post import told
from tests.support.agent_rig import AGENT, config_for, running
from tests.support.small_hive import World, brokered, hive, play
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.agents import Engine
from hive_contracts.control import CancelTurn
from hive_contracts.envelope import Envelope
from hive_contracts.errors import BodyTooLong
from hive_contracts.messages import SendMessage
from hive_contracts.permissions import (
    MAX_COMMAND_BYTES,
    PatternProposed,
    PermissionPolicy,
    PermissionRequest,
    ToolPolicy,
)
from hive_contracts.questions import (
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionState,
    QuestionView,
    ThreadRefused,
    check_permission,
)
from hive_contracts.turns import TurnNote, TurnToolResult
from hive_harness.config import HarnessConfig
from hive_runtime.records.threads import ThreadReader


def restricted(directory: Path, *patterns: str, policy: str = "ask", **settings: Any) -> HarnessConfig:
    config = config_for(directory, Engine.SCRIPTED, **settings)
    return replace(config, policy=ToolPolicy(bash_patterns=patterns, permission_policy=PermissionPolicy(policy)))


async def begin(world: World, *lines: str) -> None:
    await world.post("operator", SendMessage(to=AGENT, body="\n".join(lines)))


async def asked(world: World) -> QuestionView:
    """The question that waits for the operator."""
    await until(lambda: world.open_to("operator"))
    (question,) = world.open_to("operator")
    return question


async def answer(world: World, text: str) -> QuestionView:
    question = await asked(world)
    await world.post("operator", AnswerQuestion(id=question.id, answer=text))
    return question


def result(world: World) -> TurnToolResult:
    found = world.outside.events(TurnToolResult)[-1]
    assert isinstance(found, TurnToolResult)
    return found


def state_of(world: World, question: QuestionView) -> QuestionState:
    found = ThreadReader(world.path).get(question.id)
    assert found
    return found.state


def test_a_command_that_a_pattern_allows_runs_and_asks_nobody(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell("!bash echo hello")
        assert result(world).text == "hello"
        assert ThreadReader(world.path).recent() == []

    play(tmp_path, story, restricted(tmp_path, "echo *"))


@pytest.mark.slow
@pytest.mark.parametrize("word", ["once", "always"])
def test_the_operator_permits_the_exact_command_that_was_shown(tmp_path: Path, word: str) -> None:
    command = "touch done && echo made"

    async def story(world: World) -> None:
        await begin(world, f"!bash {command}")
        question = await answer(world, word)
        assert (await world.outside.turn_end())["outcome"] == "ok"
        assert question.permission
        assert (question.permission.tool, question.permission.command) == ("Bash", command)
        assert question.options == ("once", "no"), "no pattern could allow a joined command"
        assert result(world).text == "made"
        assert (tmp_path / "state" / "done").exists()
        assert any(f"permitted Bash ({word})" in note.text for note in world.outside.events(TurnNote))
        await until(lambda: world.inbox(AGENT))
        assert world.inbox(AGENT) == [f"!bash {command}"], "the answer wakes nobody"

    play(tmp_path, story, restricted(tmp_path, "git *"))


def test_always_proposes_the_pattern_and_changes_nothing_yet(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await begin(world, "!bash touch made")
        question = await answer(world, "always")
        await world.outside.turn_end()
        assert question.options == ("once", "always", "no")
        facts = [fact for fact in await told(world.bus, streams.EVENTS) if fact.type == PatternProposed.TYPE]
        proposed = [fact.payload(PatternProposed) for fact in facts]
        assert proposed == [
            PatternProposed(agent=AGENT, tool="Bash", pattern="touch made *", question_id=question.id),
        ]
        commands = [
            one for one in await told(world.bus, streams.COMMANDS_SUPERVISOR) if one.type == PatternProposed.TYPE
        ]
        assert [one.payload(PatternProposed) for one in commands] == proposed, "the supervisor makes a request of it"
        await begin(world, "!bash touch made")
        await answer(world, "no")
        await world.outside.turn_end()
        assert result(world).is_error

    play(tmp_path, story, restricted(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "told_model"),
    [
        ("no", "The operator said no. Go on without it"),
        ("no\nuse the other branch", "The operator said no. The operator says: use the other branch"),
        ("not now", "The operator said no. The operator says: not now"),
    ],
)
def test_no_is_told_to_the_model_with_the_operators_words(tmp_path: Path, said: str, told_model: str) -> None:
    async def story(world: World) -> None:
        await begin(world, "!bash touch done")
        await answer(world, said)
        assert (await world.outside.turn_end())["outcome"] == "ok"
        assert result(world).is_error
        assert result(world).text.startswith(told_model)
        assert not (tmp_path / "state" / "done").exists()

    play(tmp_path, story, restricted(tmp_path))


def test_no_answer_in_time_means_no(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell("!bash touch done")
        assert result(world).text.startswith("No: the operator did not answer in time.")
        assert [view.state for view in ThreadReader(world.path).recent()] == [QuestionState.EXPIRED]
        assert not (tmp_path / "state" / "done").exists()

    play(tmp_path, story, restricted(tmp_path, permission_wait_s=0.2))


def test_a_question_taken_off_the_list_means_no(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await begin(world, "!bash touch done")
        await world.post("operator", CancelQuestion(id=(await asked(world)).id))
        await world.outside.turn_end()
        assert result(world).text.startswith("No: the operator took the question off the list.")

    play(tmp_path, story, restricted(tmp_path))


def test_the_policy_deny_asks_nobody_and_names_what_is_allowed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell("!bash touch done")
        assert "allows are: git *, one plain command at a time." in result(world).text
        assert ThreadReader(world.path).recent() == []

    play(tmp_path, story, restricted(tmp_path, "git *", policy="deny"))


def test_the_policy_allow_lets_everything_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tell("!bash echo a; echo b")
        assert result(world).text == "a\nb"

    play(tmp_path, story, restricted(tmp_path, "git *", policy="allow"))


def test_a_command_too_long_to_be_shown_is_refused() -> None:
    with pytest.raises(BodyTooLong, match="more than the 16384 that the operator is shown"):
        check_permission(PermissionRequest(tool="Bash", command="x" * (MAX_COMMAND_BYTES + 1)))


def test_other_tools_are_shown_with_their_arguments(tmp_path: Path) -> None:
    wish = {"tool_name": "Write", "input": {"file_path": "/x/.bashrc", "content": "é"}}

    async def story(world: World) -> None:
        await begin(world, f"!call permission {json.dumps(wish)}")
        question = await answer(world, "once")
        await world.outside.turn_end()
        assert json.loads(result(world).text) == {"behavior": "allow", "updatedInput": wish["input"]}
        assert question.permission
        assert question.permission.command == '{\n "file_path": "/x/.bashrc",\n "content": "é"\n}'
        assert question.options == ("once", "no")

    play(tmp_path, story, restricted(tmp_path))


def test_nobody_else_can_be_asked_for_permission(tmp_path: Path) -> None:
    request = PermissionRequest(tool="Bash", command="rm x")

    async def story(world: World) -> None:
        await world.post(AGENT, AskQuestion(question="May I?", to="bob", permission=request))
        refused = await until_told(world, ThreadRefused)
        assert refused.reason == "only the operator permits what a policy does not allow"

    async def until_told(world: World, kind: type[ThreadRefused]) -> ThreadRefused:
        await eventually(lambda: in_control(world, kind))
        return (await in_control(world, kind))[-1]

    async def in_control(world: World, kind: type[ThreadRefused]) -> list[ThreadRefused]:
        facts = await told(world.bus, streams.control(AGENT))
        return [fact.payload(kind) for fact in facts if fact.type == kind.TYPE]

    play(tmp_path, story)


def test_a_turn_that_is_cancelled_takes_its_question_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await begin(world, "!bash touch done")
        question = await asked(world)
        await world.bus.append(streams.control(AGENT), Envelope.of(CancelTurn(), source="dashboard"))
        assert (await world.outside.turn_end())["outcome"] == "cancelled"
        await until(lambda: state_of(world, question) is QuestionState.CANCELLED)

    play(tmp_path, story, restricted(tmp_path))


@pytest.mark.system  # not for its processes: it takes longer than a turn may
def test_a_turns_clocks_stand_still_while_it_waits_for_a_person(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await begin(world, "!bash echo x")
        assert world.harness
        question = await asked(world)
        await until(lambda: world.harness and world.harness.status.state.detail.startswith("waits for the operator"))
        await asyncio.sleep(4.2)  # longer than the turn may take
        await world.post("operator", AnswerQuestion(id=question.id, answer="once"))
        assert (await world.outside.turn_end())["outcome"] == "ok"

    play(tmp_path, story, restricted(tmp_path, turn_limit_s=4))


@pytest.mark.slow
def test_a_harness_that_is_stopped_while_it_waits_asks_again_when_it_is_back(tmp_path: Path) -> None:
    config = restricted(tmp_path)

    async def story() -> None:
        async with hive(config, tmp_path) as world:
            await begin(world, "!bash touch done")
            await asked(world)
            bus = world.bus
        async with brokered(bus, tmp_path), running(config, bus):
            await answer(world, "once")
            while (await world.outside.turn_end())["outcome"] != "ok":
                pass
        assert (tmp_path / "state" / "done").exists()

    asyncio.run(story())
