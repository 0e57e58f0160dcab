"""What the supervisor does for a manager, and what it does for nobody but the operator."""

from pathlib import Path

import pytest
from tests.supervisor.test_service import Hive, on_hive
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import (
    CommandDone,
    CommandFailed,
    ContainerStatus,
    DestroyAgent,
    RestartAgent,
    SpawnAgent,
    StartAgent,
    StopAgent,
)
from hive_contracts.credentials import RotateCredentials
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.models import AgentConfig, AgentLimits, Network, SetModel
from hive_contracts.names import MANAGER
from hive_contracts.wishes import AGENT_SOURCE, GetLogs, ListAgents


async def wish(hive: Hive, payload: Payload, *, key: str = "k1") -> Envelope:
    """As the broker passes it on; the answer in the manager's control stream."""
    source, identity = f"{AGENT_SOURCE}{MANAGER}", f"m-{key}-{payload.TYPE}"
    subject = str(getattr(payload, "name", MANAGER))
    command = Envelope.of(payload, source=source, id=identity, subject=subject, correlation_id=key)
    cursor = await hive.bus.last_id(streams.control(MANAGER))
    await hive.bus.append(streams.COMMANDS_SUPERVISOR, command)
    reader = hive.bus.reader()
    try:
        while True:
            for entry in await reader.read_after({streams.control(MANAGER): cursor}, count=1, block_ms=5000):
                cursor = entry.id
                answer = Envelope.decode(entry.fields)
                if answer.correlation_id == key:
                    return answer
    finally:
        await reader.aclose()


def test_a_manager_stops_and_starts_another_agent_and_is_told(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        for key, payload, status in (
            ("k1", StopAgent(name="ada"), "stopped"),
            ("k2", StartAgent(name="ada"), "running"),
            ("k3", RestartAgent(name="ada"), "running"),
        ):
            answer = await wish(hive, payload, key=key)
            assert (answer.type, answer.data["result"]) == (CommandDone.TYPE, {"status": status})
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        starts = len(hive.runtime.started)
        again = await wish(hive, RestartAgent(name="ada"), key="k3")
        assert again.type == CommandDone.TYPE
        assert len(hive.runtime.started) == starts, "the same wish is carried out once"

    on_hive(redis, tmp_path, scenario)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (DestroyAgent(name="ada", purge=True), "the operator's"),
        (SpawnAgent(name="eve"), "the operator's"),
        (SetModel(name="ada", model="opus"), "the operator's"),
        (RotateCredentials(), "the operator's"),
        (StopAgent(name=MANAGER), "to yourself"),
        (StopAgent(name="zoe"), "no agent called zoe"),
        (GetLogs(name="zoe"), "no agent called zoe"),
    ],
)
def test_what_is_not_a_managers_is_refused_and_nothing_happens(
    redis: RedisServer, tmp_path: Path, payload: Payload, reason: str
) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.command(StartAgent(name=MANAGER))  # it runs by now
        before = await hive.bus.hash_all(streams.AGENTS)
        answer = await wish(hive, payload)
        assert answer.type == CommandFailed.TYPE
        assert reason in answer.data["reason"]
        assert await hive.bus.hash_all(streams.AGENTS) == before

    on_hive(redis, tmp_path, scenario)


def test_a_manager_sees_the_agents_and_their_logs(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.command(StartAgent(name=MANAGER))  # it runs by now
        found = (await wish(hive, ListAgents())).data["result"]["agents"]
        assert [(agent["name"], agent["role"], agent["container"], agent["doing"]) for agent in found] == [
            ("ada", "agent", "running", "idle"),
            (MANAGER, "manager", "running", "idle"),
        ]
        assert (await wish(hive, GetLogs(name="ada", lines=2), key="k2")).type == CommandDone.TYPE

    on_hive(redis, tmp_path, scenario)


def test_an_agents_own_limits_and_network_reach_its_container(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        limits = AgentLimits(memory_mib=256, pids=99)
        await hive.command(SpawnAgent(name="ada", config=AgentConfig(limits=limits, network=Network.NONE)))
        (spec,) = [spec for spec in hive.runtime.started if spec.name == "ada"]
        assert (spec.limits.memory_bytes, spec.limits.pids, spec.limits.cpus) == (256 * 1024**2, 99, 2.0)
        assert spec.network is Network.NONE

    on_hive(redis, tmp_path, scenario)
