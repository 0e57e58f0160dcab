"""The supervisor over a real Redis, with containers in memory: commands, crashes, lost data."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import (
    AgentCreated,
    AgentPurged,
    AgentRecord,
    AgentState,
    CommandDone,
    CommandFailed,
    ContainerCrashed,
    ContainerStarted,
    ContainerStatus,
    ContainerStopped,
    Desired,
    DestroyAgent,
    RestartAgent,
    Role,
    SpawnAgent,
    StartAgent,
    StopAgent,
    TurnState,
)
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.models import AgentConfig
from hive_runtime.acl import agent_user
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_url import RedisAddress
from hive_supervisor.config import END_OF_IDS, FIRST_ID, SupervisorSettings
from hive_supervisor.containers import Premises
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.runtimes.base import IDS
from hive_supervisor.runtimes.choose import Choice
from hive_supervisor.runtimes.memory import MemoryRuntime
from hive_supervisor.service import Ending, serve
from hive_supervisor.store import SupervisorStore


@dataclass
class Hive:
    """A running supervisor, and what a test needs to talk to it."""

    bus: RedisBus
    admin: RedisAdmin
    runtime: MemoryRuntime
    data_dir: Path
    address: RedisAddress
    cursor: str = "0-0"
    ending: Ending = field(default_factory=Ending)

    async def command(self, payload: Payload, *, command_id: str = "") -> Envelope:
        """Send a command; returns its answer."""
        envelope = Envelope.of(payload, source="dashboard", **({"id": command_id} if command_id else {}))
        await self.bus.append(streams.COMMANDS_SUPERVISOR, envelope)
        return await self.fact(CommandDone, CommandFailed, correlation_id=envelope.id)

    async def fact(self, *kinds: type[Payload], correlation_id: str = "") -> Envelope:
        """The next fact of one of these kinds."""
        reader = self.bus.reader()
        try:
            while True:
                for entry in await reader.read_after({streams.EVENTS: self.cursor}, count=1, block_ms=5000):
                    self.cursor = entry.id
                    envelope = Envelope.decode(entry.fields)
                    if envelope.type in {kind.TYPE for kind in kinds} and correlation_id in envelope.correlation_id:
                        return envelope
        finally:
            await reader.aclose()

    async def record(self, name: str) -> AgentRecord:
        return AgentRecord.model_validate_json((await self.bus.hash_all(streams.AGENTS))[name])


async def report_ready(bus: RedisBus, runtime: MemoryRuntime) -> None:
    """Every container that starts has a harness that reports at once."""
    seen = 0
    while True:
        for spec in runtime.started[seen:]:
            account = AgentState(agent=spec.name, state=TurnState.IDLE, since=datetime.now(UTC))
            await bus.hash_set(streams.state(spec.name), {streams.STATE_FIELD: account.model_dump_json()})
            seen += 1
        await asyncio.sleep(0.005)


@asynccontextmanager
async def supervisor(
    data_dir: Path,
    address: RedisAddress,
    runtime: MemoryRuntime,
    settings: RetentionSettings | None = None,
    config: SupervisorSettings | None = None,
) -> AsyncIterator[Hive]:
    bus, admin = RedisBus(address, load_functions=True), RedisAdmin(address)
    store = SupervisorStore(data_dir / "supervisor.sqlite")
    ending = Ending()
    premises = Premises(
        config or SupervisorSettings(), HarnessSettings(), data_dir, address, settings or RetentionSettings()
    )
    cursor = await bus.last_id(streams.EVENTS)
    tasks = [
        asyncio.ensure_future(
            serve(premises, bus=bus, admin=admin, store=store, choice=Choice(runtime, "for a test"), ending=ending)
        ),
        asyncio.ensure_future(report_ready(bus, runtime)),
    ]
    try:
        yield Hive(bus, admin, runtime, data_dir, address, cursor, ending)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        store.close()
        await bus.aclose()
        await admin.aclose()


def on_hive(redis: RedisServer, data_dir: Path, scenario: Callable[[Hive], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30), supervisor(data_dir, redis.address, MemoryRuntime()) as hive:
            await scenario(hive)

    asyncio.run(bounded())


def test_a_new_hive_has_its_manager_and_it_runs(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        assert (await hive.fact(ContainerStarted)).subject == "hm1nd"
        record = await hive.record("hm1nd")
        assert (record.role, record.container, record.desired) == (
            Role.MANAGER,
            ContainerStatus.RUNNING,
            Desired.RUNNING,
        )
        assert agent_user("hm1nd") in str(await hive.admin.users())

    on_hive(redis, tmp_path, scenario)


def test_a_spawned_agent_runs_and_its_name_is_taken(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        assert (await hive.command(SpawnAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        refused = (await hive.command(SpawnAgent(name="ada"))).payload(CommandFailed)
        assert refused.code == "agent_exists"
        assert "already" in refused.reason

    on_hive(redis, tmp_path, scenario)


def test_creation_is_told(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, Envelope.of(SpawnAgent(name="ada"), source="dashboard"))
        assert (await hive.fact(AgentCreated)).payload(AgentCreated).record.name == "ada"

    on_hive(redis, tmp_path, scenario)


def test_a_repeated_command_is_answered_alike_and_done_once(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        first = await hive.command(SpawnAgent(name="ada"), command_id="c1")
        second = await hive.command(SpawnAgent(name="ada"), command_id="c1")
        assert (first.type, first.id) == (second.type, second.id) == (CommandDone.TYPE, "c1:answer")
        assert [spec.name for spec in hive.runtime.started].count("ada") == 1

    on_hive(redis, tmp_path, scenario)


@pytest.mark.slow
def test_stop_start_and_restart_do_as_they_say(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.command(StopAgent(name="ada"))
        assert (await hive.record("ada")).container is ContainerStatus.STOPPED
        await hive.command(StartAgent(name="ada"))
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        await hive.command(RestartAgent(name="ada"))
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        assert [spec.name for spec in hive.runtime.started].count("ada") == 3
        assert (await hive.record("ada")).restarts == 0

    on_hive(redis, tmp_path, scenario)


def test_bad_commands_are_answered_and_change_nothing(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        unknown = (await hive.command(StopAgent(name="nobody"))).payload(CommandFailed)
        assert unknown.code == "unknown_agent"
        envelope = Envelope(source="dashboard", type=SpawnAgent.TYPE, data={"name": "../etc"})
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, envelope)
        answer = await hive.fact(CommandFailed, correlation_id=envelope.id)
        assert answer.payload(CommandFailed).code == "invalid"
        envelope = Envelope(source="dashboard", type="agent.dance", data={})
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, envelope)
        assert "agent.dance" in (await hive.fact(CommandFailed, correlation_id=envelope.id)).data["reason"]
        assert set(await hive.bus.hash_all(streams.AGENTS)) == {"hm1nd"}

    on_hive(redis, tmp_path, scenario)


def test_a_crash_is_told_and_the_container_comes_back(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        hive.runtime.say("ada", "last words")
        hive.runtime.crash("ada", status=137)
        crash = (await hive.fact(ContainerCrashed)).payload(ContainerCrashed)
        assert (crash.agent, crash.signal, crash.exit_status) == ("ada", 9, None)
        assert crash.log_tail[-1] == "last words"
        while (await hive.fact(ContainerStarted)).subject != "ada":
            pass  # the manager's own start
        assert (await hive.record("ada")).restarts == 1

    on_hive(redis, tmp_path, scenario)


def test_a_wanted_stop_is_no_crash(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, Envelope.of(StopAgent(name="ada"), source="dashboard"))
        told = await hive.fact(ContainerCrashed, ContainerStopped)
        assert told.type == ContainerStopped.TYPE

    on_hive(redis, tmp_path, scenario)


def test_a_restarted_supervisor_neither_resurrects_nor_forgets(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = MemoryRuntime()
        async with asyncio.timeout(30):
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.command(SpawnAgent(name="ada"))
                await hive.command(SpawnAgent(name="lin"))
                await hive.command(StopAgent(name="lin"))
            starts = len(runtime.started)
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.command(StartAgent(name="ada"))
                assert (await hive.record("lin")).container is ContainerStatus.STOPPED
                assert len(runtime.started) == starts

    asyncio.run(scenario())


def test_after_a_server_lost_everything_users_groups_and_registry_are_back(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await hive.admin.delete_user(agent_user("ada"))
        await hive.admin.flush()

        async def restored() -> bool:
            return "ada" in await hive.bus.hash_all(streams.AGENTS)

        await eventually(restored)
        assert agent_user("ada") in str(await hive.admin.users())
        reader = hive.bus.reader()
        assert await reader.read_pending(streams.inbox("ada"), streams.GROUP_HARNESS, "ada", after="0", count=1) == []
        await reader.aclose()
        assert (await hive.command(StopAgent(name="ada"))).type == CommandDone.TYPE

    on_hive(redis, tmp_path, scenario)


async def keys_of(hive: Hive, name: str) -> set[str]:
    redis = connect(hive.address)
    try:
        return {str(key) async for key in redis.scan_iter(match=f"hive:{{{name}}}:*")}
    finally:
        await redis.aclose()


@pytest.mark.slow
def test_a_destroyed_agent_keeps_its_state_and_is_revived_by_its_name(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada", config=AgentConfig(recipients=("lin",))))
        number = (await hive.record("ada")).number
        (tmp_path / "agents/ada").mkdir(parents=True)
        (tmp_path / "agents/ada/note").write_text("kept")
        assert (await hive.command(DestroyAgent(name="ada"))).type == CommandDone.TYPE
        record = await hive.record("ada")
        assert (record.desired, record.container) == (Desired.DESTROYED, ContainerStatus.STOPPED)
        assert "kept" in record.detail
        refused = (await hive.command(StartAgent(name="ada"))).payload(CommandFailed)
        assert refused.code == "agent_destroyed"
        assert (await hive.command(SpawnAgent(name="ada"))).type == CommandDone.TYPE
        record = await hive.record("ada")
        assert (record.container, record.number, record.config.recipients) == (
            ContainerStatus.RUNNING,
            number,
            ("lin",),
        )
        assert (tmp_path / "agents/ada/note").read_text() == "kept"

    on_hive(redis, tmp_path, scenario)


def everything_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


async def runs(hive: Hive, name: str) -> bool:
    return (await hive.record(name)).container is ContainerStatus.RUNNING


@pytest.mark.slow
def test_of_a_purged_agent_nothing_is_left_and_its_name_is_free(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        number = (await hive.record("ada")).number
        (tmp_path / "agents/ada/state").mkdir(parents=True)
        (tmp_path / "agents/ada/state/note").symlink_to("/etc/passwd")
        (tmp_path / "secrets/model-key-ada").write_text("sk-ant-api03-hers")
        assert await keys_of(hive, "ada")
        refused = (await hive.command(DestroyAgent(name="ada", purge=True))).payload(CommandFailed)
        assert (refused.code, await runs(hive, "ada")) == ("agent_runs", True)
        assert "`hive stop ada`" in refused.reason
        await hive.command(StopAgent(name="ada"))
        assert (await hive.command(DestroyAgent(name="ada", purge=True))).type == CommandDone.TYPE
        assert "ada" not in await hive.bus.hash_all(streams.AGENTS)
        assert await keys_of(hive, "ada") == set()
        assert agent_user("ada") not in await hive.admin.users()
        assert not (tmp_path / "agents/ada").exists()
        assert not [path for path in everything_in(tmp_path) if "ada" in path.name]
        assert (await hive.command(StopAgent(name="ada"))).payload(CommandFailed).code == "unknown_agent"
        assert (await hive.command(SpawnAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).number > number

    on_hive(redis, tmp_path, scenario)


@pytest.mark.slow
def test_a_purge_that_was_cut_short_goes_on_at_the_next_start(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = MemoryRuntime()
        async with asyncio.timeout(50):
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.command(SpawnAgent(name="ada"))
            store = SupervisorStore(tmp_path / "supervisor.sqlite")
            with store.unit() as unit:
                unit.want("ada", Desired.PURGED)
            store.close()
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.fact(AgentPurged)
                await eventually(lambda: _is_wiped(hive))
                assert "ada" not in await runtime.list()
            async with supervisor(tmp_path, redis.address, runtime) as hive:
                await hive.command(StopAgent(name="hm1nd"))
                assert set(await hive.bus.hash_all(streams.AGENTS)) == {"hm1nd"}

    asyncio.run(scenario())


async def _is_wiped(hive: Hive) -> bool:
    gone = agent_user("ada") not in await hive.admin.users()
    return gone and not await keys_of(hive, "ada") and not (hive.data_dir / "secrets/redis-agent-ada").exists()


def test_the_manager_cannot_be_destroyed(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        refused = (await hive.command(DestroyAgent(name="hm1nd", purge=True))).payload(CommandFailed)
        assert "manager" in refused.reason
        assert (await hive.command(DestroyAgent(name="nobody"))).payload(CommandFailed).code == "unknown_agent"

    on_hive(redis, tmp_path, scenario)


@pytest.mark.slow
def test_an_agent_for_whom_no_user_ids_are_left_is_refused_with_a_sentence(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.fact(ContainerStarted)
        last = (END_OF_IDS - FIRST_ID) // IDS - 1
        with closing(sqlite3.connect(tmp_path / "supervisor.sqlite")) as db, db:
            db.execute("UPDATE sqlite_sequence SET seq = :seq WHERE name = 'agents'", {"seq": last - 1})
        assert (await hive.command(SpawnAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).number == last
        refused = (await hive.command(SpawnAgent(name="bob"))).payload(CommandFailed)
        assert "no user ids are left for bob" in refused.reason
        assert "bob" not in await hive.bus.hash_all(streams.AGENTS)

    on_hive(redis, tmp_path, scenario)
