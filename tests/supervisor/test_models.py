"""What an agent's engine is given: its configuration in its container, and the operator's override of its model."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed, SpawnAgent, StartAgent, StopAgent
from hive_contracts.envelope import Envelope
from hive_contracts.models import AgentConfig, McpServer, ModelChanged, ModelSource, SetModel
from hive_contracts.permissions import ToolPolicy
from hive_supervisor.runtimes.memory import MemoryRuntime


def environment(hive: Hive, name: str) -> dict[str, str]:
    """Of its newest container."""
    return dict([spec for spec in hive.runtime.started if spec.name == name][-1].environment)


async def told(hive: Hive, name: str) -> list[str]:
    """The models that its harness was told of."""
    reader = hive.bus.reader()
    try:
        entries = await reader.read_after({streams.control(name): "0-0"}, count=99, block_ms=1)
    finally:
        await reader.aclose()
    facts = [Envelope.decode(entry.fields) for entry in entries]
    return [fact.payload(ModelChanged).model for fact in facts if fact.type == ModelChanged.TYPE]


@pytest.mark.slow
def test_an_override_goes_before_the_agents_own_model_and_that_before_the_hives(
    redis: RedisServer, tmp_path: Path
) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.command(SpawnAgent(name="lin", config=AgentConfig(model="sonnet")))
        assert [environment(hive, name)["HIVE_MODEL"] for name in ("ada", "lin")] == ["haiku", "sonnet"]
        await hive.command(SetModel(name="lin", model="opus"))
        record = await hive.record("lin")
        assert (record.model.name, record.model.source) == ("opus", ModelSource.OVERRIDE)
        assert record.model.override_since
        assert (await told(hive, "lin"))[-1] == "opus"
        await hive.command(SetModel(name="lin"))
        record = await hive.record("lin")
        assert (record.model.name, record.model.source) == ("sonnet", ModelSource.CONFIG)
        assert (await told(hive, "lin"))[-1] == "sonnet"
        assert [spec.name for spec in hive.runtime.started].count("lin") == 1, "nothing is restarted"
        failed = await hive.command(SetModel(name="nobody", model="opus"))
        assert failed.type == CommandFailed.TYPE

    on_hive(redis, tmp_path, scenario)


def test_an_override_holds_for_the_next_container_and_the_next_supervisor(redis: RedisServer, tmp_path: Path) -> None:
    async def main() -> None:
        runtime = MemoryRuntime()
        async with asyncio.timeout(30):
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.command(SpawnAgent(name="ada"))
                await hive.command(SetModel(name="ada", model="opus"))
                await hive.command(StopAgent(name="ada"))
                await hive.command(StartAgent(name="ada"))
                assert environment(hive, "ada")["HIVE_MODEL"] == "opus"
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await eventually(lambda: _has(hive, "ada", count=2))
                assert (await hive.record("ada")).model.name == "opus"

    async def _has(hive: Hive, name: str, *, count: int) -> bool:
        """A supervisor that starts says so again: its predecessor may have been cut off before it could."""
        return (await told(hive, name)).count("opus") >= count

    asyncio.run(main())


def test_a_bad_models_name_is_refused(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        command = Envelope(source="dashboard", type=SetModel.TYPE, data={"name": "ada", "model": "--help"})
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, command)
        answer = await hive.fact(CommandDone, CommandFailed, correlation_id=command.id)
        assert "not a model's name" in answer.payload(CommandFailed).reason

    on_hive(redis, tmp_path, scenario)


def test_the_configuration_and_only_named_variables_reach_the_container(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_TOKEN", "t")
    monkeypatch.setenv("ANOTHER_TOKEN", "o")
    config = AgentConfig(
        policy=ToolPolicy(bash_patterns=("Bash(git *)",)),
        mcp_servers={"tracker": McpServer(command="tracker", env=("TRACKER_TOKEN",))},
    )

    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada", config=config))
        found = environment(hive, "ada")
        assert AgentConfig.model_validate_json(found["HIVE_AGENT_CONFIG"]) == config
        assert json.loads(found["HIVE_AGENT_CONFIG"])["policy"]["bash_patterns"] == ["git *"]
        assert found["TRACKER_TOKEN"] == "t"
        assert "ANOTHER_TOKEN" not in found
        assert (await hive.record("ada")).config == config

    on_hive(redis, tmp_path, scenario)
