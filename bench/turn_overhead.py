"""From a message in the inbox to the first request at the model: a warm engine against one CLI process per turn.

Real Claude Code, a real Redis, a scripted model on loopback; both ways in one run, in turns.
Usage: python -m bench.turn_overhead [--turns N]
"""

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from tests.support.agent_rig import Outside, config_for, outside, running
from tests.support.claude_cli import claude_program
from tests.support.model_server import ModelServer
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts.agents import Engine
from hive_harness.service import Harness
from hive_runtime.redis_bus import RedisBus

EXPECTED_RATIO = 0.1


@dataclass(slots=True)
class Agent:
    """An agent of its own server, with the model that it asks."""

    world: Outside
    harness: Harness
    model: ModelServer

    async def turn(self) -> float:
        """Seconds from the message's delivery to the model's first request."""
        before = len(self.model.requests)
        began = time.monotonic()
        await self.world.deliver("measure")
        ended = await self.world.turn_end()
        assert ended["outcome"] == "ok", ended
        await self.world.at_rest()
        return self.model.requests[before].at - began

    async def engine_closed(self) -> None:
        while self.harness.runner is None or self.harness.runner.pid is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def agent(redis: RedisServer, *, idle_s: float) -> AsyncIterator[Agent]:
    with tempfile.TemporaryDirectory() as directory, ModelServer() as model:
        config = config_for(Path(directory), Engine.CLAUDE, idle_close_s=idle_s)
        config = replace(config, claude=claude_program(), credentials=model.credentials())
        bus = RedisBus(redis.address)
        async with outside(bus) as world, running(config, bus) as harness:
            yield Agent(world, harness, model)
        await bus.aclose()


async def measure(turns: int, warm_redis: RedisServer, cold_redis: RedisServer) -> tuple[list[float], list[float]]:
    """Both kinds by turns, so that what else the machine does weighs on both."""
    warm_s, cold_s = [], []
    async with agent(warm_redis, idle_s=600) as warm, agent(cold_redis, idle_s=0) as cold:
        await warm.turn()
        await cold.turn()
        for _ in range(turns):
            await cold.engine_closed()
            warm_s.append(await warm.turn())
            cold_s.append(await cold.turn())
    return warm_s, cold_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="turns of each kind")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with redis_server() as warm_redis, redis_server() as cold_redis:
        warm_s, cold_s = asyncio.run(measure(options.turns, warm_redis, cold_redis))
    warm, cold = statistics.median(warm_s), statistics.median(cold_s)
    print(f"message in the inbox → first request at the model, median of {options.turns} turns")
    print(f"  warm engine           {warm * 1000:8.1f} ms   (worst {max(warm_s) * 1000:.1f})")
    print(f"  one process per turn  {cold * 1000:8.1f} ms   (worst {max(cold_s) * 1000:.1f})")
    print(f"  ratio                 {warm / cold:8.3f}      (expected at most {EXPECTED_RATIO})")


if __name__ == "__main__":
    main()
