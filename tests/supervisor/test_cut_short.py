"""A restart that a supervisor recorded and did not live to do is done by the next one, and not done twice."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.supervisor.test_service import supervisor
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed, RestartAgent, SpawnAgent
from hive_contracts.envelope import Envelope
from hive_runtime.redis_bus import RedisBus
from hive_supervisor.fleet import SOURCE
from hive_supervisor.runtimes.memory import MemoryMachine, MemoryRuntime
from hive_supervisor.store import Answer, SupervisorStore


async def recorded_only(data_dir: Path, redis: RedisServer, command: Envelope) -> None:
    """A supervisor takes `command`, records it, and dies."""
    store = SupervisorStore(data_dir / "supervisor.sqlite")
    with store.unit() as unit:
        unit.remember(command.id, Answer(), datetime.now(UTC))
    store.close()
    async with aclosing(RedisBus(redis.address)) as bus, aclosing(bus.reader()) as reader:
        await bus.append(streams.COMMANDS_SUPERVISOR, command)
        stream, group = streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR
        assert await reader.read_new(stream, group, SOURCE, count=1, block_ms=5000)


@pytest.mark.slow
@pytest.mark.parametrize(("was_done", "starts"), [(False, 2), (True, 1)])
def test_a_restart_that_was_cut_short_is_done_once(
    redis: RedisServer, tmp_path: Path, *, was_done: bool, starts: int
) -> None:
    async def main() -> None:
        machine = MemoryMachine()
        early = datetime.now(UTC)
        async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as first:
            await first.command(SpawnAgent(name="ada"))
        time = early if was_done else datetime.now(UTC)
        command = Envelope.of(RestartAgent(name="ada"), source="dashboard", subject="ada")
        await recorded_only(tmp_path, redis, command.model_copy(update={"time": time}))
        async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as second:
            answer = await second.fact(CommandDone, CommandFailed, correlation_id=command.id)
            assert answer.type == CommandDone.TYPE
            assert [spec.name for spec in machine.started].count("ada") == starts

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())
