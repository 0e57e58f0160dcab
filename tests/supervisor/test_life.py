"""Lives of containers: crashes that are told and throttled, quarantine, reboots, and what happened unseen."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

import pytest
from tests.supervisor.test_service import Hive, supervisor
from tests.supervisor.test_wishes import wish
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.agents import (
    AgentNeedsUpdate,
    AgentQuarantined,
    AgentRecord,
    CommandDone,
    CommandFailed,
    ContainerCrashed,
    ContainerStatus,
    ContainerStopped,
    Desired,
    DestroyAgent,
    RebuildAgent,
    RestartAgent,
    SpawnAgent,
    StartAgent,
    StopAgent,
)
from hive_contracts.envelope import Envelope
from hive_contracts.models import AgentConfig, RestartPolicy
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.life import Life, last_words
from hive_supervisor.runtimes.base import REBOOT, Container
from hive_supervisor.runtimes.memory import MemoryMachine, MemoryRuntime
from hive_supervisor.store import SupervisorStore

THREE = SupervisorSettings(restart_crashes=3, restart_tries=2)


def on_machine(
    redis: RedisServer, tmp_path: Path, *lives: Callable[[Hive], Awaitable[None]], config: SupervisorSettings = THREE
) -> None:
    """One supervisor after the other, each with a new runtime over the same containers."""

    async def scenario() -> None:
        machine = MemoryMachine()
        async with asyncio.timeout(50):
            for life in lives:
                async with supervisor(tmp_path, redis.address, MemoryRuntime(machine), config=config) as hive:
                    await life(hive)

    asyncio.run(scenario())


async def is_(hive: Hive, name: str, status: ContainerStatus) -> None:
    async def found() -> bool:
        return (await hive.record(name)).container is status

    await eventually(found)


async def crash(hive: Hive, name: str, times: int, *, status: int = 1) -> None:
    """Each once it runs again."""
    for _ in range(times):
        await is_(hive, name, ContainerStatus.RUNNING)
        hive.runtime.crash(name, status=status)
        while (await hive.fact(ContainerCrashed)).subject != name:
            pass


@pytest.mark.slow
def test_what_crashes_too_often_is_quarantined_until_somebody_starts_it(redis: RedisServer, tmp_path: Path) -> None:
    async def first(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await crash(hive, "ada", 3)
        told = (await hive.fact(AgentQuarantined)).payload(AgentQuarantined)
        assert told.reason == "it crashed 3 times within 30 minutes"
        await is_(hive, "ada", ContainerStatus.QUARANTINED)
        record = await hive.record("ada")
        assert record.desired is Desired.RUNNING
        assert "`hive start ada`" in record.detail

    async def second(hive: Hive) -> None:
        """Another supervisor leaves it so."""
        await is_(hive, "ada", ContainerStatus.QUARANTINED)
        starts = len(hive.runtime.started)
        await hive.command(SpawnAgent(name="lin"))
        assert [spec.name for spec in hive.runtime.started[starts:]] == ["lin"]
        assert (await hive.command(StartAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        await crash(hive, "ada", 2)
        await is_(hive, "ada", ContainerStatus.RUNNING)

    on_machine(redis, tmp_path, first, second)


@pytest.mark.slow
@pytest.mark.parametrize("policy", RestartPolicy)
def test_who_may_end_a_quarantine_is_the_agents_policy(
    redis: RedisServer, tmp_path: Path, policy: RestartPolicy
) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada", config=AgentConfig(restart=policy)))
        await crash(hive, "ada", 1 if policy is RestartPolicy.NEVER else 3)
        await is_(hive, "ada", ContainerStatus.QUARANTINED)
        await is_(hive, "hm1nd", ContainerStatus.RUNNING)
        for number, payload in enumerate((RestartAgent(name="ada"), StopAgent(name="ada"), StartAgent(name="ada"))):
            answer = await wish(hive, payload, key=f"k{number}")
            assert answer.type == (CommandDone if policy is RestartPolicy.MANAGER else CommandFailed).TYPE
        if policy is not RestartPolicy.MANAGER:
            assert (await hive.record("ada")).container is ContainerStatus.QUARANTINED
            assert (await hive.command(StartAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING

    on_machine(redis, tmp_path, scenario)


def test_a_stop_ends_a_quarantine_too(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        await crash(hive, "ada", 3)
        await is_(hive, "ada", ContainerStatus.QUARANTINED)
        assert (await hive.command(StopAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).container is ContainerStatus.STOPPED

    on_machine(redis, tmp_path, scenario)


def test_a_container_that_never_comes_up_is_given_up_and_the_command_says_why(
    redis: RedisServer, tmp_path: Path
) -> None:
    class Failing(MemoryRuntime):
        """Containers of ada end as soon as they start."""

        async def start(self, name: str) -> None:
            await super().start(name)
            if name == "ada":
                self.say(name, "no module named hive_harness")
                self.crash(name, status=1)

    async def scenario() -> None:
        async with (
            asyncio.timeout(50),
            supervisor(tmp_path, redis.address, Failing(), config=THREE) as hive,
        ):
            failed = (await hive.command(SpawnAgent(name="ada"), command_id="c1")).payload(CommandFailed)
            assert failed.code == "cannot_start"
            assert "no module named hive_harness" in failed.reason
            await is_(hive, "ada", ContainerStatus.QUARANTINED)
            assert "did not come up 2 times in a row" in (await hive.record("ada")).detail
            again = (await hive.command(SpawnAgent(name="ada"), command_id="c1")).payload(CommandFailed)
            assert again.reason == failed.reason

    asyncio.run(scenario())


def test_a_reboot_is_no_crash(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        hive.runtime.crash("ada", status=REBOOT)
        await until(lambda: [spec.name for spec in hive.runtime.started].count("ada") == 2)
        assert await crashes(hive, "ada") == []
        assert (await hive.record("ada")).restarts == 0

    on_machine(redis, tmp_path, scenario)


def test_one_that_took_too_much_memory_is_told_so(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada"))
        hive.runtime.crash("ada", status=137, oom=True)
        crashed = (await hive.fact(ContainerCrashed)).payload(ContainerCrashed)
        assert (crashed.oom, crashed.signal) == (True, 9)

    on_machine(redis, tmp_path, scenario)


async def crashes(hive: Hive, name: str) -> list[ContainerCrashed]:
    """All that were ever told of `name`, which runs by now."""
    assert (await hive.command(StartAgent(name=name))).type == CommandDone.TYPE
    reader = hive.bus.reader()
    entries = await reader.read_after({streams.EVENTS: "0-0"}, count=1000, block_ms=1000)
    await reader.aclose()
    facts = [Envelope.decode(entry.fields) for entry in entries]
    return [
        fact.payload(ContainerCrashed) for fact in facts if fact.type == ContainerCrashed.TYPE and fact.subject == name
    ]


@pytest.mark.slow
def test_a_crash_while_no_supervisor_was_there_is_told_once(redis: RedisServer, tmp_path: Path) -> None:
    machine = MemoryMachine()

    async def scenario() -> None:
        async with asyncio.timeout(50):
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                await hive.command(SpawnAgent(name="ada"))
            away = MemoryRuntime(machine)
            away.say("ada", "last words")
            away.crash("ada", status=139)
            for _ in range(2):
                async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                    assert [(fact.signal, fact.log_tail[-1]) for fact in await crashes(hive, "ada")] == [
                        (11, "last words")
                    ]
                    assert (await hive.record("ada")).container is ContainerStatus.RUNNING

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), ""),
        (("a", "b", "c", "d"), "b | c | d"),
        (("x" * 200, "y" * 200, "bye\x1b"), f"{'y' * 200} | bye "),
        (("x" * 400,), "x" * 300),
    ],
    ids=["none", "short", "whole lines", "one long line"],
)
def test_last_words_are_whole_lines_that_fit(lines: tuple[str, ...], words: str) -> None:
    assert last_words(lines) == (f"; its last words: {words}" if words else "")


def change_life(tmp_path: Path, name: str, change: Callable[[Life], Life]) -> None:
    """As an earlier supervisor left it."""
    store = SupervisorStore(tmp_path / "supervisor.sqlite")
    life = next(agent.life for agent in store.agents() if agent.name == name)
    with store.unit() as unit:
        unit.keep_life(name, change(life))
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda life: life.stopping(), "it was being stopped, for a restart or the end of the hive"),
        (lambda life: life.model_copy(update={"boot": "another"}), "the machine was started anew"),
        (lambda life: life.model_copy(update={"began": life.began + 3600}), "the start never came to be"),
    ],
)
def test_what_ended_unseen_and_was_to_end_is_no_crash(
    redis: RedisServer, tmp_path: Path, change: Callable[[Life], Life], why: str
) -> None:
    machine = MemoryMachine()

    async def scenario() -> None:
        async with asyncio.timeout(50):
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                await hive.command(SpawnAgent(name="ada"))
            MemoryRuntime(machine).crash("ada", status=0)
            change_life(tmp_path, "ada", change)
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                assert await crashes(hive, "ada") == [], why
                assert (await hive.record("ada")).container is ContainerStatus.RUNNING

    asyncio.run(scenario())


def test_a_stop_that_was_cut_off_is_done_by_the_next_supervisor(redis: RedisServer, tmp_path: Path) -> None:
    machine = MemoryMachine()

    async def scenario() -> None:
        async with asyncio.timeout(50):
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                await hive.command(SpawnAgent(name="ada"))
            store = SupervisorStore(tmp_path / "supervisor.sqlite")
            with store.unit() as unit:
                unit.want("ada", Desired.STOPPED)
            store.close()
            change_life(tmp_path, "ada", lambda life: life.stopping())
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                await is_(hive, "ada", ContainerStatus.STOPPED)
                told = await hive.fact(ContainerStopped, ContainerCrashed)
                assert (told.type, told.subject) == (ContainerStopped.TYPE, "ada")

    asyncio.run(scenario())


class Imaged(MemoryRuntime):
    """Its containers are made of images."""

    newest = "base-1"

    async def newest_image(self) -> str:
        return self.newest


def test_what_is_behind_is_marked_and_told_and_a_rebuild_brings_it_up_to_date(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hive_supervisor.fleet.IMAGE_LOOK_S", 0.05)
    runtime = Imaged()

    async def scenario() -> None:
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, runtime) as hive:
            for name in ("ada", "lin"):
                await hive.command(SpawnAgent(name=name))
            await hive.command(StopAgent(name="lin"))
            assert (await hive.record("ada")).needs_update == ""
            starts = len(runtime.started)
            assert (await hive.command(RebuildAgent(name="ada"))).type == CommandDone.TYPE
            assert len(runtime.started) == starts, "nothing was to be done"
            runtime.newest = "base-2"
            while (told := await hive.fact(AgentNeedsUpdate)).subject != "ada":
                pass
            assert told.payload(AgentNeedsUpdate).reason == "there is a newer image"
            assert (await hive.record("ada")).needs_update == "there is a newer image"
            assert (await hive.record("lin")).needs_update == "", "its next start takes the newest"
            for name in ("ada", "lin"):
                assert (await hive.command(RebuildAgent(name=name))).type == CommandDone.TYPE
            assert [spec.name for spec in runtime.started[starts:]] == ["ada"]
            assert (await hive.record("ada")).needs_update == ""
            assert (await hive.record("lin")).container is ContainerStatus.STOPPED
            assert (await hive.command(RebuildAgent(name="nobody"))).payload(CommandFailed).code == "unknown_agent"

    asyncio.run(scenario())


def test_what_is_under_way_and_what_follows_is_shown_and_ends_with_it(redis: RedisServer, tmp_path: Path) -> None:
    class Slow(MemoryRuntime):
        """Starts only when it may."""

        may = asyncio.Event()

        async def start(self, name: str) -> None:
            if name == "ada":
                await self.may.wait()
            await super().start(name)

    async def scenario() -> None:
        runtime = Slow()
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, runtime) as hive:
            await hive.bus.append(streams.COMMANDS_SUPERVISOR, Envelope.of(SpawnAgent(name="ada"), source="dashboard"))

            async def shown(verb: str) -> bool:
                found = await hive.bus.hash_all(streams.AGENTS)
                operation = AgentRecord.model_validate_json(found["ada"]).operation if "ada" in found else None
                return operation is not None and operation.verb == verb

            await eventually(lambda: shown("start"))
            assert (await hive.command(SpawnAgent(name="lin"))).type == CommandDone.TYPE, "others do not wait for it"
            stop = asyncio.ensure_future(hive.command(StopAgent(name="ada")))

            async def queued() -> bool:
                return (await hive.record("ada")).queued == "stop"

            await eventually(queued)
            runtime.may.set()
            assert (await stop).type == CommandDone.TYPE
            record = await hive.record("ada")
            assert (record.operation, record.queued, record.container) == (None, "", ContainerStatus.STOPPED)

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_end_of_the_hive_stops_the_containers_and_is_no_crash(redis: RedisServer, tmp_path: Path) -> None:
    machine = MemoryMachine()

    async def scenario() -> None:
        async with asyncio.timeout(50):
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                await hive.command(SpawnAgent(name="ada"))
                hive.ending.told(signal.SIGINT)
            assert not any(container.running for container in machine.containers.values())
            async with supervisor(tmp_path, redis.address, MemoryRuntime(machine)) as hive:
                assert await crashes(hive, "ada") == []
                hive.ending.told(signal.SIGTERM)
            assert all(container.running for container in machine.containers.values())

    asyncio.run(scenario())


def test_the_end_of_the_hive_stops_containers_that_are_no_longer_listed(redis: RedisServer, tmp_path: Path) -> None:
    """The `process` runtime lists what it finds in the data directory, which somebody may move away too early."""

    class Forgetful(MemoryRuntime):
        forgets = False

        async def list(self) -> dict[str, Container]:
            return {} if self.forgets else await super().list()

    machine = MemoryMachine()

    async def scenario() -> None:
        runtime = Forgetful(machine)
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, runtime) as hive:
            await hive.command(SpawnAgent(name="ada"))
            runtime.forgets = True
            hive.ending.told(signal.SIGINT)

    asyncio.run(scenario())
    assert not any(container.running for container in machine.containers.values())


@pytest.mark.slow
def test_so_many_containers_start_at_once_and_one_that_waits_can_be_stopped(redis: RedisServer, tmp_path: Path) -> None:
    class Gate(MemoryRuntime):
        """Starts only when it may; `inside` are those that wait here."""

        may = asyncio.Event()
        inside: ClassVar[set[str]] = set()

        async def start(self, name: str) -> None:
            self.inside.add(name)
            await self.may.wait()
            self.inside.discard(name)
            await super().start(name)

    async def scenario() -> None:
        gate, two = Gate(), SupervisorSettings(start_at_once=2)
        async with asyncio.timeout(50), supervisor(tmp_path, redis.address, gate, config=two) as hive:
            for name in ("ada", "lin", "eve"):
                spawn = Envelope.of(SpawnAgent(name=name), source="dashboard")
                await hive.bus.append(streams.COMMANDS_SUPERVISOR, spawn)

            async def waits(name: str) -> bool:
                found = await hive.bus.hash_all(streams.AGENTS)
                return name in found and "waits" in AgentRecord.model_validate_json(found[name]).detail

            await until(lambda: len(gate.inside) == 2)
            await eventually(lambda: waits("eve"))
            assert (await hive.command(StopAgent(name="eve"))).type == CommandDone.TYPE
            assert len(gate.inside) == 2
            gate.may.set()
            for name in ("hm1nd", "ada", "lin"):
                await is_(hive, name, ContainerStatus.RUNNING)
            assert (await hive.command(StartAgent(name="eve"))).type == CommandDone.TYPE

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_kept_login_is_shown(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        for name in ("ada", "lin", "eve"):
            await hive.command(SpawnAgent(name=name))
            state = tmp_path / "agents" / name / "state"
            state.mkdir(parents=True)
            if name == "ada":
                (state / ".claude").mkdir()
                (state / ".claude" / ".credentials.json").touch()
            if name == "lin":
                (state / ".claude").symlink_to(tmp_path / "agents" / "ada" / "state" / ".claude")
            await hive.command(DestroyAgent(name=name))
        kept = {name: await hive.record(name) for name in ("ada", "lin", "eve")}
        assert {name for name, record in kept.items() if record.signed_in} == {"ada"}
        assert {name for name, record in kept.items() if "it is signed in" in record.detail} == {"ada"}

    on_machine(redis, tmp_path, scenario)
