"""A back-end that fails for a while: the supervisor asks again, says so, and goes on."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.supervisor.test_service import Hive, supervisor
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import CommandDone, ContainerStatus, DestroyAgent, HiveInfo, SpawnAgent
from hive_supervisor.errors import EngineRefused
from hive_supervisor.keeper import LIST_FAILS
from hive_supervisor.runtimes.base import Container
from hive_supervisor.runtimes.memory import MemoryRuntime


class FailingRuntime(MemoryRuntime):
    """While `fails` is set, it does nothing of `verbs`."""

    fails = ""
    verbs: tuple[str, ...] = ("list", "remove")

    async def list(self) -> dict[str, Container]:
        self._refuse("list")
        return await super().list()

    async def stop(self, name: str, *, grace_s: float) -> None:
        self._refuse("stop")
        await super().stop(name, grace_s=grace_s)

    async def remove(self, name: str) -> None:
        self._refuse("remove")
        await super().remove(name)

    def _refuse(self, verb: str) -> None:
        if self.fails and verb in self.verbs:
            raise EngineRefused(self.fails)


def on_failing(
    redis: RedisServer, data_dir: Path, scenario: Callable[[Hive, FailingRuntime], Awaitable[None]], *, fails: str = ""
) -> None:
    async def bounded() -> None:
        runtime = FailingRuntime()
        runtime.fails = fails
        async with asyncio.timeout(40), supervisor(data_dir, redis.address, runtime) as hive:
            await scenario(hive, runtime)

    asyncio.run(bounded())


async def _warning(hive: Hive) -> str:
    found = (await hive.bus.hash_all(streams.INFO)).get(streams.INFO_FIELD)
    return HiveInfo.model_validate_json(found).warning if found else ""


def test_an_engine_that_cannot_list_is_asked_again_and_the_operator_is_told(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive, runtime: FailingRuntime) -> None:
        async def told() -> bool:
            return LIST_FAILS[1:] in (text := await _warning(hive)) and "server error" in text

        async def told_no_more() -> bool:
            return LIST_FAILS[1:] not in await _warning(hive)

        await eventually(told)
        runtime.fails = ""
        assert (await hive.command(SpawnAgent(name="ada"))).type == CommandDone.TYPE
        assert (await hive.record("ada")).container is ContainerStatus.RUNNING
        await eventually(told_no_more)

    on_failing(redis, tmp_path, scenario, fails="server error")


@pytest.mark.slow
def test_a_container_that_cannot_be_removed_holds_up_its_purge_and_nothing_else(
    redis: RedisServer, tmp_path: Path
) -> None:
    async def scenario(hive: Hive, runtime: FailingRuntime) -> None:
        async def told() -> bool:
            return "the container of ada".capitalize() in await _warning(hive)

        await hive.command(SpawnAgent(name="ada"))
        await hive.command(DestroyAgent(name="ada"))
        runtime.fails = "device or resource busy"
        purge = asyncio.ensure_future(hive.command(DestroyAgent(name="ada", purge=True)))
        await eventually(told)
        runtime.fails = ""
        await purge
        assert "ada" not in await hive.bus.hash_all(streams.AGENTS)
        assert (await hive.command(SpawnAgent(name="bob"))).type == CommandDone.TYPE

    on_failing(redis, tmp_path, scenario)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["list", "stop"])
def test_a_hive_that_ends_while_its_engine_fails_ends(redis: RedisServer, tmp_path: Path, verb: str) -> None:
    async def scenario(hive: Hive, runtime: FailingRuntime) -> None:
        await hive.command(SpawnAgent(name="ada"))
        runtime.verbs, runtime.fails = (verb,), "server error"
        hive.ending.told(signal.SIGINT)

    on_failing(redis, tmp_path, scenario)
