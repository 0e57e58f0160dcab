"""What a turn's end tells beside its outcome: who wrote, to whom it wrote, which tools, how full the inbox was."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.agent_rig import config_for, outside, running

from hive_contracts.stats import KEYS, MAX_KEY, MAX_TOOLS, key_of, tool_key
from hive_contracts.turns import TurnEnded
from hive_harness.figures import Counts
from hive_runtime.bus import Bus
from hive_runtime.records.stats import MAX_KEYS, stats_of

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def test_a_turn_tells_whom_it_heard_and_wrote_to_with_which_tools(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            await world.deliver("!call recv\n!send bob hi\n!send operator hi\n!send hm1nd hi\n!bash true")
            for sender in ("bob", "hm1nd", "system"):
                await world.deliver("more", sender=sender)
            config = config_for(tmp_path)
            (config.state_dir / "notes.md").write_text("0123456789")
            async with running(config, bus):
                found: dict[str, Any] = (await world.turn_end())["stats"]
        assert found == {
            **{f"received.{kind}": 1 for kind in ("operator", "peer", "manager", "system")},
            **{f"sent.{kind}": 1 for kind in ("peer", "operator", "manager")},
            "tool.hyperhive.recv": 1,
            "tool.hyperhive.send": 3,
            "tool.bash": 1,
            "inbox_depth": 0,
            "inbox_depth_max": 4,
            "notes_bytes": 10,
        }

    on_bus(scenario)


def test_what_waits_is_told_apart_from_what_the_turn_had(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            for number in range(3):
                await world.deliver(f"!say {number}")
            async with running(config_for(tmp_path), bus):
                depths = [(await world.turn_end())["stats"] for _ in range(3)]
        assert [found["inbox_depth"] for found in depths] == [2, 1, 0]
        assert [found["inbox_depth_max"] for found in depths] == [3, 2, 1]

    on_bus(scenario)


def test_an_engine_that_ends_by_itself_leaves_its_exit_status(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!crash")
            assert (await world.turn_end())["stats"]["exit.1"] == 1

    on_bus(scenario)


def test_exit_statuses_are_told_apart_from_signals() -> None:
    counts = Counts()
    for status in (0, 3, -9, -64):
        counts.exited(status)
    assert set(counts.stats()) == {"exit.0", "exit.3", "exit.sigkill", "exit.sigrtmax"}


@pytest.mark.slow
def test_a_turn_after_a_compaction_for_lack_of_room_is_a_compact_retry(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!say a conversation begins")
            await world.turn_end()
            await world.deliver("!fail prompt_too_long")
            ended = [await world.turn_end() for _ in range(3)]
        assert [end["outcome"] for end in ended] == ["prompt_too_long", "ok", "prompt_too_long"]
        assert ["compact_retries" in end["stats"] for end in ended] == [False, False, True]

    on_bus(scenario)


@given(st.lists(st.text(max_size=80), max_size=60))
def test_whatever_an_engine_calls_its_tools_few_keys_come_of_it_and_all_are_kept(names: list[str]) -> None:
    counts = Counts()
    for name in names:
        counts.tool(name)
    found = counts.stats()
    assert sum(found.values()) == len(names)
    assert len(found) <= MAX_TOOLS + 1
    assert set(found) <= set(stats_of(TurnEnded(turn_id="t-1", seq=0, outcome="ok", stats=found)))


def test_all_that_a_turn_may_count_is_kept() -> None:
    counts = Counts()
    for number in range(MAX_TOOLS + 5):
        counts.tool(f"tool-{number}")
    for name in ("ada", "operator", "hm1nd", "system"):
        counts.received(name)
        counts.sent(name)
    counts.exited(1)
    counts.compact_retry()
    levels = {"inbox_depth", "inbox_depth_max", "notes_bytes"}
    assert len(counts.stats()) + len(levels) <= MAX_KEYS
    assert {key_of(key).means for key in (*counts.stats(), *levels)} <= {key.means for key in KEYS.values()} - {""}


def test_tools_of_mcp_servers_are_named_by_server_and_tool() -> None:
    assert tool_key("mcp__hyperhive__send") == "tool.hyperhive.send"
    assert tool_key("Bash") == "tool.bash"
    assert tool_key("Ä b/c") == "tool.__b_c"
    assert len(tool_key("x" * 200)) == MAX_KEY
