"""The conversation and the notes are shortened between turns, on a scripted engine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running

from hive_contracts import streams
from hive_contracts.agents import AgentStateChanged, TurnState
from hive_contracts.control import CompactAgent, PauseAgent
from hive_contracts.turns import TurnEnded, TurnNote, TurnStarted
from hive_harness.prompt import CHECKPOINT, COMPACT_KEEPING
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside, Harness], Awaitable[None]]

FULL = "!usage 160000 10\n!say the window is nearly full"
LONG = "# Notes\n\n" + "".join(f"- fact number {number} is worth a line\n" for number in range(60))


def play(directory: Path, story: Story, **settings: float) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(directory, **settings), bus) as harness:
            await story(world, harness)

    asyncio.run(main())


def states(world: Outside) -> list[str]:
    """Each state that was told, once where it stands several times in a row."""
    told = [event.state.state.value for event in world.events(AgentStateChanged)]
    return [state for index, state in enumerate(told) if index == 0 or told[index - 1] != state]


async def compacted(world: Outside) -> None:
    """Returns when a compaction that began is over."""
    await world.until(lambda event: event.data.get("state", {}).get("state") == TurnState.COMPACTING)
    await world.until(lambda event: event.data.get("state", {}).get("state") == TurnState.IDLE)


def notes_of(world: Outside) -> str:
    return "\n".join(note.text for note in world.events(TurnNote))


def write_notes(directory: Path, text: str) -> Path:
    path = directory / "state" / "notes.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_conversation_past_the_watermark_is_written_down_and_shortened_before_the_next_turn(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver(FULL)
        assert (await world.turn_end())["usage"]["context"] == 160_000
        await compacted(world)
        own = world.events(TurnStarted)[-1]
        assert (own.messages, own.sender, own.prompt) == ((), "system", CHECKPOINT)
        assert world.events(TurnEnded)[-1].messages == ()
        assert states(world) == ["starting", "idle", "thinking", "idle", "compacting", "idle"]
        assert "the conversation was shortened: 160,000 → 100 tokens" in notes_of(world)
        assert (harness.status.state.context_tokens, harness.status.state.turn_id) == (100, None)
        assert "the conversation was shortened" in (tmp_path / "state/notes.md").read_text()
        await world.deliver("!say hello")
        assert (await world.turn_end())["outcome"] == "ok"
        assert "a new session begins" in notes_of(world)
        assert "is resumed" not in notes_of(world)

    play(tmp_path, story)


def test_below_the_watermark_nothing_is_shortened(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        for _ in range(2):
            await world.deliver(FULL)
            await world.turn_end()
            await world.at_rest()
        assert "compacting" not in states(world)

    play(tmp_path, story, compact_at=0.9)


def test_a_conversation_that_shortening_does_not_help_is_not_shortened_after_each_turn(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        for _ in range(3):
            await world.deliver("!usage 5000 10\n!say hello")
            await world.turn_end()
            await world.at_rest()
        assert states(world).count("compacting") == 1

    play(tmp_path, story, compact_at=0.0001)


def test_a_conversation_that_no_longer_fits_is_shortened_once_then_begun_anew(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say hello")
        await world.turn_end()
        head = await world.deliver("!fail prompt_too_long")
        for _ in range(2):
            ended = await world.turn_end()
            assert (ended["outcome"], ended["messages"]) == ("prompt_too_long", [head])
            await world.until(lambda event: event.data.get("state", {}).get("state") == TurnState.COMPACTING)
            own = await world.until(of_type("turn.note"))
            if "new conversation" in own.data["text"]:
                break
            assert [started.prompt for started in world.events(TurnStarted)][-1] == COMPACT_KEEPING
            await world.until(of_type("turn.ended"))
        else:
            await world.until(lambda event: "a new conversation begins" in str(event.data.get("text")))
        assert await world.bus.depth(streams.inbox(AGENT)) == 1

    play(tmp_path, story)


def test_by_hand_it_tells_what_came_of_it_also_while_paused(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        assert (await world.told(CompactAgent()))["reason"] == "there is no conversation yet"
        await world.deliver("!usage 5000 1\n!say hello")
        await world.turn_end()
        await world.at_rest()
        await world.told(PauseAgent())
        told = await world.told(CompactAgent())
        assert told["result"] == {"tokens_before": 5000, "tokens_after": 100}
        assert harness.status.state.state is TurnState.PAUSED

    play(tmp_path, story)


@pytest.mark.slow
def test_by_hand_in_a_turn_it_comes_after_it(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say begun\n!sleep 1\n!usage 5000 1\n!say done")
        await world.until(of_type("turn.text"))
        assert (await world.told(CompactAgent()))["result"] == {"after": "turn"}
        assert (await world.turn_end())["outcome"] == "ok"
        await compacted(world)
        assert "was shortened: 5,000 → 100" in notes_of(world)

    play(tmp_path, story)


def test_in_the_checkpoint_no_message_is_taken_up(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver(FULL)
        later = await world.deliver("!say later")
        await world.turn_end()
        await compacted(world)
        assert (await world.turn_end())["messages"] == [later]

    play(tmp_path, story)


def test_notes_that_grew_too_long_are_rewritten_after_the_turn_and_the_old_ones_kept(tmp_path: Path) -> None:
    path = write_notes(tmp_path, LONG)

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say hello")
        await world.turn_end()
        await compacted(world)
        assert "notes.md was shortened" in notes_of(world)

    play(tmp_path, story, notes_limit_bytes=1024)
    assert len(path.read_text()) < len(LONG) / 2
    assert "fact number 59" in path.read_text()
    assert [copy.read_text() for copy in (tmp_path / "state/.hive/notes").iterdir()] == [LONG]


def test_notes_are_shortened_by_hand_without_any_conversation(tmp_path: Path) -> None:
    path = write_notes(tmp_path, LONG)

    async def story(world: Outside, harness: Harness) -> None:
        result = (await world.told(CompactAgent(notes=True)))["result"]
        assert (result["bytes_before"], result["bytes_after"]) == (len(LONG), len(path.read_text()))
        assert (tmp_path / "state" / result["earlier"]).read_text() == LONG
        assert harness.status.state.cost_usd > 0
        assert (await world.told(CompactAgent(notes=True, wait=False)))["result"] == {}

    play(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("!say nothing between marks", "is not all between"),
        ("!say <notes> </notes>", "are empty"),
        ("!fail rate_limited", "rate_limited"),
        ("!fail error", "failed"),
        ("!crash", "engine_crashed"),
    ],
)
def test_a_bad_answer_leaves_the_notes_as_they_are_and_is_asked_for_once(
    tmp_path: Path, line: str, reason: str
) -> None:
    text = f"{LONG}\n{line}\n"
    path = write_notes(tmp_path, text)

    async def story(world: Outside, harness: Harness) -> None:
        for _ in range(2):
            await world.deliver("!say hello")
            await world.turn_end()
            await world.at_rest()
        assert reason in notes_of(world)
        assert states(world).count("compacting") == 1

    play(tmp_path, story, notes_limit_bytes=1024)
    assert path.read_text() == text


def test_an_agent_without_notes_is_told_so(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        answer: dict[str, Any] = await world.told(CompactAgent(notes=True))
        assert answer["code"] == "notes_not_taken"
        assert "there is nothing in notes.md" in answer["reason"]

    play(tmp_path, story)


def test_a_harness_that_ends_while_notes_are_rewritten_leaves_them_whole(tmp_path: Path) -> None:
    text = f"{LONG}\n!hang\n"
    path = write_notes(tmp_path, text)

    async def story(world: Outside, harness: Harness) -> None:
        await world.command(CompactAgent(notes=True))
        await world.until(lambda event: "notes" in event.data.get("state", {}).get("detail", ""))

    play(tmp_path, story)
    assert path.read_text() == text
