"""Fixtures for everyone."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from tests.support.docker_engine import DockerEngine, docker_engine
from tests.support.podman_engine import PodmanEngine, podman_engine
from tests.support.redis_server import RedisServer
from tests.support.shared_redis import SharedRedis

from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_bus import RedisBus

os.environ.setdefault("HIVE_SUPERVISOR_RUNTIME", "process")
"""Whatever else this machine could run: the tests of the other back-ends name theirs."""

# How long an example takes is the machine's affair, and says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
settings.register_profile("quick", max_examples=15)

Scenario = Callable[[Bus], Awaitable[None]]


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[SharedRedis]:
    shared = SharedRedis()
    yield shared
    shared.close()


@pytest.fixture
def redis(shared_redis: SharedRedis) -> Iterator[RedisServer]:
    """A real server, empty. A test may stop, start and set it as it likes."""
    with shared_redis.lend() as server:
        yield server


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    """A real Docker engine, one for all tests; each removes what it made there."""
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman() -> Iterator[PodmanEngine]:
    """A real Podman that answers as Docker does, one for all tests."""
    with podman_engine() as engine:
        yield engine


@pytest.fixture(params=["memory", "redis"])
def on_bus(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario on each implementation of `Bus`."""
    if request.param == "memory":
        return lambda scenario: asyncio.run(_run(MemoryBus(), scenario))
    server: RedisServer = request.getfixturevalue("redis")
    return lambda scenario: asyncio.run(_run(RedisBus(server.address, load_functions=True), scenario))


async def _run(bus: Bus, scenario: Scenario) -> None:
    try:
        await scenario(bus)
    finally:
        await bus.aclose()
