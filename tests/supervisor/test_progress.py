"""How far what is done to a container is: told step by step, and gone with what was done, however that ended."""

import asyncio
from pathlib import Path

import pytest
from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import (
    AgentPurged,
    AgentRecord,
    CommandFailed,
    ContainerStatus,
    DestroyAgent,
    OperationProgressed,
    RestartAgent,
    SpawnAgent,
    StopAgent,
)
from hive_contracts.envelope import Envelope
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes.memory import MemoryRuntime

START = ["makes its container", "starts its container", "waits for its harness to report"]


async def told(hive: Hive, name: str) -> list[tuple[str, str]]:
    """Verb and step, all that was told of `name` so far."""
    reader = hive.bus.reader()
    entries = await reader.read_after({streams.EVENTS: "0-0"}, count=1000, block_ms=1000)
    await reader.aclose()
    facts = [Envelope.decode(entry.fields) for entry in entries]
    steps = [fact.payload(OperationProgressed) for fact in facts if fact.type == OperationProgressed.TYPE]
    return [(step.verb, step.step) for step in steps if step.agent == name]


@pytest.mark.slow
def test_each_step_is_told_as_part_of_what_was_asked_for(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        assert await told(hive, "ada") == [("start", step) for step in START]
        await hive.command(RestartAgent(name="ada"))
        restart = (await told(hive, "ada"))[3:]
        assert restart == [("restart", "asks it to end, within 3.5 s"), *(("restart", step) for step in START)]
        assert (await hive.record("ada")).operation is None
        await hive.command(StopAgent(name="ada"))
        await hive.command(DestroyAgent(name="ada", purge=True))
        assert (await told(hive, "ada"))[7:] == [
            ("stop", "asks it to end, within 3.5 s"),
            ("purge", "ends its container"),
            ("purge", "wipes its files"),
        ]

    on_hive(redis, tmp_path, scenario)


class Held(MemoryRuntime):
    """Containers of ada stay in the middle of what is done to them until `may` is set; then they `fails`, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.fails = False

    async def start(self, name: str) -> None:
        if name == "ada":
            await self.may.wait()
            if self.fails:
                raise CannotStart("no room")
        await super().start(name)

    async def remove(self, name: str) -> None:
        await self.may.wait()
        await super().remove(name)


async def step_of(hive: Hive, name: str) -> str:
    found = await hive.bus.hash_all(streams.AGENTS)
    operation = AgentRecord.model_validate_json(found[name]).operation if name in found else None
    return operation.step if operation else ""


def test_the_step_stands_in_the_record_and_goes_with_a_failure(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = Held()
        runtime.fails = True
        once = SupervisorSettings(restart_tries=1)
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, runtime, config=once) as hive:
            spawned = asyncio.ensure_future(hive.command(SpawnAgent(name="ada")))

            async def starts() -> bool:
                return await step_of(hive, "ada") == "starts its container"

            await eventually(starts)
            runtime.may.set()
            assert "no room" in (await spawned).payload(CommandFailed).reason
            record = await hive.record("ada")
            assert (record.container, record.operation) == (ContainerStatus.QUARANTINED, None)

    asyncio.run(scenario())


def test_a_step_that_a_killed_supervisor_left_is_gone_with_the_next(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(50):
            runtime = Held()
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                spawn = Envelope.of(SpawnAgent(name="ada"), source="dashboard")
                await hive.bus.append(streams.COMMANDS_SUPERVISOR, spawn)

                async def starts() -> bool:
                    return await step_of(hive, "ada") == "starts its container"

                await eventually(starts)
            async with supervisor(tmp_path, redis.address, MemoryRuntime()) as hive:
                await hive.command(StopAgent(name="ada"))
                assert (await hive.record("ada")).operation is None

    asyncio.run(scenario())


def test_a_purge_is_seen_until_it_is_done_and_nobody_can_begin_anything_meanwhile(
    redis: RedisServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        runtime = Held()
        runtime.may.set()
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, runtime) as hive:
            await hive.command(SpawnAgent(name="ada"))
            await hive.command(StopAgent(name="ada"))
            runtime.may.clear()
            purge = Envelope.of(DestroyAgent(name="ada", purge=True), source="dashboard")
            await hive.bus.append(streams.COMMANDS_SUPERVISOR, purge)

            async def purges() -> bool:
                return await step_of(hive, "ada") == "ends its container"

            await eventually(purges)
            assert not (await hive.record("ada")).desired.is_there
            refused = (await hive.command(SpawnAgent(name="ada"))).payload(CommandFailed)
            assert refused.code == "agent_exists"
            runtime.may.set()
            await hive.fact(AgentPurged)

    asyncio.run(scenario())
