"""Cancel, urgent messages, naps, limits and new sessions, on a scripted engine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import AgentStateChanged
from hive_contracts.control import CancelTurn, NapAgent, NewSession, PauseAgent, ResumeAgent, UrgentWaits, WakeAgent
from hive_contracts.turns import TurnNote, TurnStarted
from hive_harness.runner import BEGINS_ANEW
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside, Harness], Awaitable[None]]

SLEEPS = "!bash echo $$ > pid; sleep 600"


def play(directory: Path, story: Story, **settings: float) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(directory, **settings), bus) as harness:
            await story(world, harness)

    asyncio.run(main())


async def urgent(world: Outside, body: str) -> str:
    """As the broker does it: into the inbox, and a word on the control stream."""
    message = await world.deliver(body, urgent=True)
    await world.command(UrgentWaits(message_id=message))
    return message


def is_gone(directory: Path) -> bool:
    """Whether the command that wrote its pid has ended."""
    return not Path(f"/proc/{(directory / 'state/pid').read_text().strip()}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("body", [SLEEPS, "!say begun\n!sleep 600", '!call recv {"wait_seconds": 180}'])
def test_a_cancelled_turn_is_over_with_its_tools_and_its_message_done_with(tmp_path: Path, body: str) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver(body)
        await world.until(lambda event: event.type in {"turn.tool_call", "turn.text"})
        if "pid" in body:
            await until(lambda: (tmp_path / "state/pid").exists() and (tmp_path / "state/pid").read_text())
        assert harness.runner
        engine = harness.runner.pid
        answer = await world.command(CancelTurn())
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("cancelled", [head])
        assert (await world.answer(answer)).data["result"]["messages"] == [head]
        assert "pid" not in body or is_gone(tmp_path)
        assert await world.bus.depth(streams.inbox(AGENT)) == 0
        after = await world.deliver("!say on")
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("ok", [after])
        assert harness.runner.pid == engine  # it left off when it was asked to

    play(tmp_path, story)


@pytest.mark.slow
def test_an_engine_that_does_not_leave_off_is_killed_with_what_it_started(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!bash (trap '' HUP; setsid sleep 600 >/dev/null 2>&1 & echo $! > pid)\n!say begun\n!hang")
        await world.until(of_type("turn.text"))
        await world.told(CancelTurn())
        await until(lambda: is_gone(tmp_path))
        await until(lambda: harness.runner and harness.runner.pid is None)

    play(tmp_path, story)


def test_there_is_nothing_to_cancel_between_turns_and_in_another_turn(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        assert "no turn runs" in (await world.told(CancelTurn()))["reason"]
        await world.deliver("!sleep 600")
        await world.until(of_type("turn.started"))
        assert "that turn is over" in (await world.told(CancelTurn(turn_id="t-other")))["reason"]

    play(tmp_path, story)


@pytest.mark.slow
def test_an_urgent_message_is_seen_next_and_the_interrupted_one_after_it(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        first = await world.deliver("!bash mkdir once && sleep 600\n!say done")
        await world.until(of_type("turn.tool_call"))
        second = await world.deliver("!say second", sender="bob")
        now = await urgent(world, "!say now")
        ends = [await world.turn_end() for _ in range(4)]
        assert [(end["outcome"], end["messages"]) for end in ends] == [
            ("interrupted", [first]),
            ("ok", [now]),
            ("ok", [first]),
            ("ok", [second]),
        ]
        started = world.events(TurnStarted)
        assert [one.redelivered for one in started] == [False, False, True, False]

    play(tmp_path, story)


def test_an_urgent_message_waits_for_a_tool_that_comes_back_soon(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!bash while [ ! -e go ]; do sleep 0.02; done; touch finished\n!sleep 600")
        await world.until(of_type("turn.tool_call"))
        await urgent(world, "!say now")
        (tmp_path / "state/go").touch()
        assert (await world.turn_end())["outcome"] == "interrupted"
        assert (tmp_path / "state/finished").exists()

    play(tmp_path, story)


def test_one_urgent_turn_does_not_interrupt_another(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        one = await urgent(world, "!say begun\n!bash while [ ! -e go ]; do sleep 0.02; done")
        await world.until(of_type("turn.tool_call"))
        two = await world.deliver("!say two", urgent=True)
        await world.told(UrgentWaits(message_id=two))
        (tmp_path / "state/go").touch()
        assert [(await world.turn_end())["messages"] for _ in range(2)] == [[one], [two]]

    play(tmp_path, story)


def test_an_agent_that_naps_begins_no_turn_until_it_is_woken(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver('!call nap {"seconds": 3600}')
        await world.turn_end()
        state = await world.in_state("napping")
        assert state["until"]
        waiting = await world.deliver("!say later")
        await until(lambda: harness.status.state.state == "napping")
        await world.told(WakeAgent())
        assert (await world.turn_end())["messages"] == [waiting]
        assert len(world.events(TurnStarted)) == 2

    play(tmp_path, story)


def test_an_urgent_message_wakes_from_a_nap_that_outlasted_a_restart_and_others_do_not(tmp_path: Path) -> None:
    async def sleep(world: Outside, harness: Harness) -> None:
        await world.told(NapAgent(seconds=3600))

    async def story(world: Outside, harness: Harness) -> None:
        await world.in_state("napping")
        waiting = await world.deliver("!say later")
        now = await urgent(world, "!say now")
        assert [(await world.turn_end())["messages"] for _ in range(2)] == [[now], [waiting]]

    play(tmp_path, sleep)
    play(tmp_path, story)


def test_an_urgent_message_that_came_while_no_harness_ran_wakes_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world:
            async with running(config_for(tmp_path), bus):
                await world.told(NapAgent(seconds=3600))
            now = await urgent(world, "!say now")
            async with running(config_for(tmp_path), bus):
                assert (await world.turn_end())["messages"] == [now]

    asyncio.run(main())


def test_a_nap_over_the_limit_is_refused(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        assert "10 s at most" in (await world.told(NapAgent(seconds=11)))["reason"]

    play(tmp_path, story, nap_limit_s=10)


def test_a_pause_outlasts_a_restart(tmp_path: Path) -> None:
    async def pause(world: Outside, harness: Harness) -> None:
        await world.told(PauseAgent())

    async def story(world: Outside, harness: Harness) -> None:
        await world.in_state("paused")
        waiting = await world.deliver("!say later")
        await world.told(ResumeAgent())
        assert (await world.turn_end())["messages"] == [waiting]

    play(tmp_path, pause)
    play(tmp_path, story)


@pytest.mark.slow
def test_a_new_session_begins_empty_and_is_told_to_read_notes(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say one")
        first = await world.turn_end()
        await world.at_rest()
        await world.told(NewSession())
        assert world.events(AgentStateChanged)[-1].state.session_id is None
        await world.deliver("!say two")
        second = await world.turn_end()
        assert second["session_id"] != first["session_id"]
        assert world.events(TurnNote)[-1].text == "engine started; a new session begins"
        assert BEGINS_ANEW.startswith("This is a new conversation")

    play(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "settings", "outcome", "reason"),
    [
        ("!sleep 600", {"silence_limit_s": 0.2}, "engine_hung", "said nothing for 0.2 s"),
        ("!bash sleep 600", {"tool_limit_s": 0.2}, "tool_stalled", "Bash: sleep 600 did not come back"),
        ("!sleep 600", {"turn_limit_s": 0.2}, "failed", "limit of 0.2 s"),
        ("!bash true\n!bash true\n!sleep 600", {"turn_tool_calls": 1}, "failed", "limit of 1 tool calls"),
        ("!usage 900 200\n!say so much\n!sleep 600", {"turn_tokens": 1000}, "failed", "limit of 1000 tokens"),
    ],
)
def test_a_turn_that_does_not_end_by_itself_is_ended_and_its_message_tried_again(
    tmp_path: Path, body: str, settings: dict[str, Any], outcome: str, reason: str
) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        head = await world.deliver(body)
        for _ in range(2):
            ended = await world.turn_end()
            assert (ended["outcome"], ended["messages"]) == (outcome, [head])
            assert reason in ended["reason"]

    play(tmp_path, story, **settings)


@pytest.mark.slow
def test_a_tool_that_declares_how_long_it_waits_is_given_the_time(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver('!call recv {"wait_seconds": 1}')
        assert (await world.turn_end())["outcome"] == "ok"

    play(tmp_path, story, tool_limit_s=0.1)
