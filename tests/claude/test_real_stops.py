"""How turns of the real Claude Code end before their end, and what comes of them."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.claude.test_real_turns import config_of, play
from tests.support.agent_rig import AGENT, Outside, of_type
from tests.support.model_server import Failure, ModelRequest, ModelServer, Reply, ToolUse
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.control import CancelTurn, NewSession, UrgentWaits, WakeAgent
from hive_harness.runner import BEGINS_ANEW
from hive_harness.service import Harness

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]


def sleeps(request: ModelRequest) -> Reply:
    """Has the engine run a command that does not end, but for a message that says `quick`."""
    if "quick" in request.last:
        return Reply("done")
    return Reply("", (ToolUse("Bash", {"command": "echo $$ > pid; sleep 600"}),))


async def runs(directory: Path) -> int:
    """The pid of that command, once it runs."""
    path = directory / "state/pid"
    await until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_cancelled_turn_ends_with_its_command_and_the_engine_goes_on(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    model.script = sleeps

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("slow")
        command = await runs(tmp_path)
        assert harness.runner
        engine = harness.runner.pid
        asked = await world.command(CancelTurn())
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"], ended["usage"]["input"]) == ("cancelled", [head], 100)
        await world.answer(asked)
        await until(lambda: not is_alive(command))
        assert await world.bus.depth(streams.inbox(AGENT)) == 0
        await world.deliver("quick")
        after = await world.turn_end()
        assert (after["outcome"], after["session_id"]) == ("ok", ended["session_id"])
        assert harness.runner.pid == engine

    play(config_of(tmp_path, claude, model), story)


def test_an_urgent_message_is_answered_first_and_the_other_taken_up_again(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    model.script = sleeps

    async def story(world: Outside, harness: Harness) -> None:
        slow = await world.deliver("slow")
        command = await runs(tmp_path)
        quick = await world.deliver("quick", urgent=True)
        await world.command(UrgentWaits(message_id=quick))
        first, second = [await world.turn_end() for _ in range(2)]
        assert [(end["outcome"], end["messages"]) for end in (first, second)] == [
            ("interrupted", [slow]),
            ("ok", [quick]),
        ]
        await until(lambda: not is_alive(command))
        again = (await world.until(of_type("turn.started"))).data
        assert (again["messages"], again["redelivered"]) == ([slow], True)

    play(config_of(tmp_path, claude, model), story)


def test_a_model_that_does_not_answer_is_a_hung_engine_and_the_message_is_tried_again(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    go_on = threading.Event()

    def script(request: ModelRequest) -> Reply:
        go_on.wait(60)
        return Reply("at last")

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("hello")
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("engine_hung", [head])
        go_on.set()
        assert (await world.turn_end())["outcome"] == "ok"

    play(config_of(tmp_path, claude, model, silence_limit_s=4), story)


def test_a_command_that_stalls_is_ended_and_the_engine_lives(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    model.script = sleeps

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("slow")
        command = await runs(tmp_path)
        ended = await world.turn_end()
        assert ended["outcome"] == "tool_stalled"
        assert "Bash: echo $$ > pid; sleep 600" in ended["reason"]
        await until(lambda: not is_alive(command))

    play(config_of(tmp_path, claude, model, tool_limit_s=1), story)


def test_a_provider_that_cannot_be_reached_is_the_networks_fault(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    config = config_of(tmp_path, claude, model)
    nowhere = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "CLAUDE_CODE_MAX_RETRIES": "0"}
    config = replace(config, credentials={**config.credentials, **nowhere})

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("hello")
        assert (await world.turn_end())["outcome"] == "network"

    play(config, story)


def test_a_limit_is_waited_for_until_the_providers_time_or_the_operators_word(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    resets_at = int(time.time()) + 3600
    model.script = lambda request: Failure(429, "rate_limit_error", resets_at=resets_at)
    config = config_of(tmp_path, claude, model)
    subscription = {"ANTHROPIC_BASE_URL": model.url, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-test"}
    config = replace(config, credentials={**subscription, "CLAUDE_CODE_MAX_RETRIES": "0"})

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("hello")
        assert (await world.turn_end())["outcome"] == "rate_limited"
        state = await world.in_state("rate_limited")
        until_then = datetime.fromisoformat(state["until"]) - datetime.fromtimestamp(resets_at, UTC)
        assert 0 <= until_then.total_seconds() <= 60
        model.script = lambda request: Reply("well again")
        await world.told(WakeAgent())
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("ok", [head])

    play(config, story)


def test_a_conversation_that_no_longer_fits_is_begun_anew_with_a_word_about_notes(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    too_long = Failure(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum")
    model.script = lambda request: Reply("fine") if BEGINS_ANEW in "\n".join(request.texts) else too_long
    config = config_of(tmp_path, claude, model)
    config = replace(config, credentials={**config.credentials, "CLAUDE_CODE_MAX_RETRIES": "0"})

    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver("hello")
        first = await world.turn_end()
        assert (first["outcome"], first["messages"]) == ("prompt_too_long", [head])
        again = await world.until(lambda event: event.type == "turn.ended" and event.data["messages"] == [head])
        assert again.data["outcome"] == "ok"
        assert first["session_id"] != again.data["session_id"]

    play(config, story)


def test_a_new_session_knows_nothing_of_the_old_one(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("remember plums")
        first = await world.turn_end()
        await world.at_rest()
        await world.told(NewSession())
        await world.deliver("hello")
        second = await world.turn_end()
        assert first["session_id"] != second["session_id"]

    play(config_of(tmp_path, claude, model), story)
    conversation = "\n".join(model.requests[-1].texts)
    assert "remember plums" not in conversation
    assert BEGINS_ANEW in conversation
