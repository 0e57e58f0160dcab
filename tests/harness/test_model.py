"""The model: changed between turns at once, in a turn for the next one."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import Engine, ModelView
from hive_contracts.envelope import Envelope
from hive_contracts.models import AgentConfig, McpServer, ModelChanged
from hive_contracts.turns import TurnNote, TurnStarted
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside, Harness], Awaitable[None]]


def play(directory: Path, story: Story) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(directory), bus) as harness:
            await story(world, harness)

    asyncio.run(main())


async def tell(world: Outside, model: str) -> None:
    await world.bus.append(streams.control(AGENT), Envelope.of(ModelChanged(model=model), source="supervisor"))


def models(world: Outside) -> list[str]:
    return [started.model for started in world.events(TurnStarted)]


def test_between_turns_a_change_holds_at_once_and_the_session_goes_on(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say one")
        first = await world.turn_end()
        await world.at_rest()
        await tell(world, "opus")
        await until(lambda: harness.status.state.model.active == "opus")
        assert harness.status.state.model.last_switched
        await world.deliver("!say two")
        second = await world.turn_end()
        assert models(world) == ["haiku", "opus"]
        assert first["session_id"] == second["session_id"]
        assert "is resumed" in world.events(TurnNote)[-1].text

    play(tmp_path, story)


def test_in_a_turn_a_change_waits_for_the_next_one(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver('!call recv {"wait_seconds": 20}')
        await world.until(of_type("turn.tool_call"))
        await tell(world, "opus")
        await until(lambda: harness.status.state.model == ModelView(active="haiku", queued="opus"))
        await world.deliver("enough")
        await world.turn_end()
        await world.deliver("!say two")
        await world.turn_end()
        assert models(world) == ["haiku", "opus"]
        assert harness.status.state.model.queued is None

    play(tmp_path, story)


def test_a_change_that_is_taken_back_in_the_same_turn_changes_nothing(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver('!call recv {"wait_seconds": 20}')
        await world.until(of_type("turn.tool_call"))
        await tell(world, "opus")
        await until(lambda: harness.status.state.model.queued == "opus")
        await tell(world, "haiku")
        await until(lambda: harness.status.state.model == ModelView(active="haiku"))

    play(tmp_path, story)


def test_the_model_told_again_switches_nothing(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("!say one")
        await world.turn_end()
        await world.at_rest()
        await tell(world, "haiku")
        await world.deliver("!say two")
        await world.turn_end()
        notes = [note.text for note in world.events(TurnNote)]
        assert notes == ["engine started; a new session begins"]
        assert harness.status.state.model == ModelView(active="haiku")

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ('{"mcp_servers": {"hyperhive": {"url": "http://x/"}}}', "that one is the hive's own"),
        ('{"mcp_servers": {"HyperHive": {"url": "http://x/"}}}', "that one is the hive's own"),
        ('{"mcp_servers": {"a__b": {"url": "http://x/"}}}', "not a server's name"),
        ('{"mcp_servers": {"a": {}}}', "either a command or a url"),
        ('{"mcp_servers": {"a": {"command": "x", "url": "http://x/"}}}', "either a command or a url"),
        ('{"mcp_servers": {"a": {"url": "file:///x"}}}', "pattern"),
        ('{"mcp_servers": {"a": {"command": "x", "env": ["ANTHROPIC_API_KEY"]}}}', "one of the hive's own"),
        ('{"model": "--help"}', "not a model's name"),
        ('{"policy": {"tools": ["mcp__x"]}}', "not the name of a built-in tool"),
        ('{"policy": {"bash_patterns": ["* x"]}}', "name the command"),
        ('{"polici": {}}', "Extra inputs"),
    ],
)
def test_a_configuration_that_could_not_be_meant_is_refused(document: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        AgentConfig.model_validate_json(document)


def test_what_a_server_is_given_stands_in_a_file_of_the_engines_alone(tmp_path: Path) -> None:
    server = McpServer(command=sys.executable, args=("-V",), env=("TOKEN", "ABSENT"))
    config = config_for(tmp_path, Engine.SCRIPTED)
    config = replace(config, mcp_servers={"extra": server}, mcp_variables={"TOKEN": "t", "OTHER": "o"})

    async def main() -> None:
        async with running(config, MemoryBus()):
            path = config.run_dir / "mcp.json"
            await until(path.exists)
            assert path.stat().st_mode & 0o077 == 0
            assert '"env": {"TOKEN": "t"}' in path.read_text()

    asyncio.run(main())
