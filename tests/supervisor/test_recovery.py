"""A supervisor whose store is lost or breaks: no agent is forgotten, and each keeps the user that owns its files."""

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.support.redis_server import RedisServer

from hive_contracts.agents import (
    CommandDone,
    CommandFailed,
    ContainerStarted,
    Desired,
    RestartAgent,
    SpawnAgent,
    StopAgent,
)
from hive_contracts.models import SetModel
from hive_contracts.stores import StoreReplaced
from hive_runtime.store_broken import broken_stores
from hive_supervisor.life import Life
from hive_supervisor.runtimes.memory import MemoryRuntime
from hive_supervisor.store import Agent, SupervisorStore


def _agents(data_dir: Path) -> list[Agent]:
    """All but how often each was started."""
    store = SupervisorStore(data_dir / "supervisor.sqlite")
    try:
        return [replace(agent, life=Life()) for agent in store.agents()]
    finally:
        store.close()


def test_agents_of_a_broken_store_come_back_from_the_registry(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = MemoryRuntime()
        async with asyncio.timeout(60):
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                for name in ("ada", "lin", "eve"):
                    await hive.command(SpawnAgent(name=name))
                await hive.command(StopAgent(name="lin"))
                await hive.command(SetModel(name="eve", model="opus"))
            before, starts = _agents(tmp_path), len(runtime.started)
            (tmp_path / "supervisor.sqlite").write_bytes(b"no database, not any more, and long enough to be one" * 99)
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                told = (await hive.fact(StoreReplaced)).payload(StoreReplaced)
                assert (told.store, [tmp_path / told.kept_as]) == ("supervisor.sqlite", broken_stores(tmp_path))
                assert (await hive.record("lin")).desired is Desired.STOPPED
                assert (await hive.command(SpawnAgent(name="ada"))).type == CommandFailed.TYPE
                assert (await hive.command(RestartAgent(name="eve"))).type == CommandDone.TYPE
            assert _agents(tmp_path) == before
            assert {spec.name for spec in runtime.started[starts:]} == {"eve"}

    asyncio.run(scenario())


def test_a_store_taken_away_while_the_supervisor_runs_is_filled_again(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), supervisor(tmp_path, redis.address, MemoryRuntime()) as hive:
            await hive.command(SpawnAgent(name="ada"))
            before = _agents(tmp_path)
            (tmp_path / "supervisor.sqlite").unlink()
            assert (await hive.command(StopAgent(name="ada"))).type == CommandDone.TYPE
            after = _agents(tmp_path)
            assert [agent.number for agent in after] == [agent.number for agent in before]
            assert [agent.desired for agent in after] == [Desired.RUNNING, Desired.STOPPED]

    asyncio.run(scenario())


def test_a_new_hive_has_nothing_to_bring_back(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.fact(ContainerStarted)
        assert [agent.name for agent in _agents(tmp_path)] == ["hm1nd"]

    on_hive(redis, tmp_path, scenario)
