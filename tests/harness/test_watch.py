"""The clocks of a turn: what they count, when they stand still, and what a tool may declare."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hive_contracts.agents import Engine, TurnOutcome
from hive_contracts.messages import Message
from hive_harness.live import LivePublisher
from hive_harness.session import SessionStore
from hive_harness.turn import Received, Stop, Turn
from hive_harness.watch import MARGIN_S, MAX_DECLARED_S, TurnLimits, Watch, allowed_s, title_of
from hive_runtime.memory_bus import MemoryBus

LIMITS = TurnLimits(turn_s=60, silence_s=60, tool_s=60, tool_calls=100, tokens=0)


def a_turn() -> Turn:
    message = Message(id="m-1", sender="bob", recipient="ada", body="x", sent_at=datetime.now(UTC), trace_id="m-1")
    return Turn(Received("1-0", message), LivePublisher(MemoryBus(), "ada"))


@pytest.mark.parametrize(
    ("name", "arguments", "seconds"),
    [
        ("Bash", {}, 60),
        ("Bash", {"timeout": 600_000}, 600 + MARGIN_S),
        ("Bash", {"timeout": 1000}, 60),
        ("Bash", {"timeout": 10**12}, 60),
        ("Bash", {"timeout": 10**8}, MAX_DECLARED_S + MARGIN_S),
        ("Bash", {"timeout": "soon"}, 60),
        ("Bash", {"timeout": True}, 60),
        ("mcp__hyperhive__recv", {"wait_seconds": 180}, 180 + MARGIN_S),
        ("Read", {"wait_seconds": 180}, 60),
    ],
)
def test_a_call_that_declares_its_limit_is_given_it(name: str, arguments: dict[str, object], seconds: float) -> None:
    assert allowed_s(name, arguments, 60) == seconds


def test_a_tool_in_hand_is_told_in_a_line() -> None:
    assert title_of("Bash", {"command": "git\n status"}) == "Bash: git status"
    assert title_of("mcp__hyperhive__recv", {"wait_seconds": 1}) == "hyperhive › recv"
    assert len(title_of("Bash", {"command": "x" * 1000})) == 160


def test_a_turns_time_stands_still_while_it_is_excused() -> None:
    async def main() -> None:
        turn = a_turn()
        with turn.excused(), turn.excused():
            before = turn.clock()
            await asyncio.sleep(0.01)
            assert turn.clock() == before
        assert turn.clock() >= before
        assert turn.clock() < asyncio.get_running_loop().time()

    asyncio.run(main())


def test_the_tool_in_hand_is_the_one_that_is_not_back() -> None:
    async def main() -> None:
        told: list[str] = []
        watch = Watch(a_turn(), LIMITS, told.append)
        calls: list[dict[str, object]] = [
            {"type": "tool_use", "id": name, "name": name, "input": {}} for name in ("Read", "Grep")
        ]
        watch.see({"type": "assistant", "message": {"content": calls}})
        for name in ("Grep", "Read"):
            watch.see({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": name}]}})
        assert told == ["Read", "Grep", "Read", ""]

    asyncio.run(main())


@pytest.mark.parametrize("event", [{}, {"message": 1}, {"message": {"content": "text"}}, {"message": {"content": [7]}}])
def test_an_event_of_any_shape_is_a_sign_of_life(event: dict[str, object]) -> None:
    async def main() -> None:
        Watch(a_turn(), LIMITS, lambda tool: None).see({"type": "assistant"} | event)

    asyncio.run(main())


def test_a_cancellation_counts_whoever_asked_first() -> None:
    async def main() -> None:
        turn = a_turn()
        turn.ask_to_stop(Stop(TurnOutcome.INTERRUPTED, "urgent"))
        turn.ask_to_stop(Stop(TurnOutcome.CANCELLED, "the operator"))
        turn.ask_to_stop(Stop(TurnOutcome.INTERRUPTED, "urgent again"))
        stop = await Watch(turn, LIMITS, lambda tool: None).verdict()
        assert stop.outcome is TurnOutcome.CANCELLED

    asyncio.run(main())


def test_that_a_session_was_given_up_is_remembered_until_there_is_another(tmp_path: Path) -> None:
    SessionStore(tmp_path, Engine.CLAUDE).keep("one")
    SessionStore(tmp_path, Engine.CLAUDE).forget()
    again = SessionStore(tmp_path, Engine.CLAUDE)
    assert (again.id, again.begins_anew) == (None, True)
    again.keep("two")
    last = SessionStore(tmp_path, Engine.CLAUDE)
    assert (last.id, last.begins_anew) == ("two", False)
