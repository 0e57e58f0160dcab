"""From a message in the inbox to the first request at the model: a warm engine against one CLI process per turn; and
from the operator's cancel to the end of the turn and of the command that it ran.

Real Claude Code, a real Redis, a scripted model on loopback; all in one run, in turns.
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
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from tests.support.agent_rig import Outside, config_for, outside, running
from tests.support.claude_cli import claude_program
from tests.support.model_server import ModelRequest, ModelServer, Reply, ToolUse, say_done
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import until

from hive_contracts.agents import Engine
from hive_contracts.control import CancelTurn
from hive_harness.service import Harness
from hive_runtime.redis_bus import RedisBus

EXPECTED_RATIO = 0.1
CANCEL_LIMIT_S = 2.0


@dataclass(slots=True)
class Agent:
    """An agent of its own server, with the model that it asks."""

    world: Outside
    harness: Harness
    model: ModelServer
    directory: Path
    gone_at: float = 0.0

    async def turn(self) -> float:
        """Seconds from the message's delivery to the model's first request."""
        before = len(self.model.requests)
        began = time.monotonic()
        await self.world.deliver("measure")
        ended = await self.world.turn_end()
        assert ended["outcome"] == "ok", ended
        await self.world.at_rest()
        return self.model.requests[before].at - began

    async def cancel(self) -> tuple[float, float]:
        """Seconds from the command to the told end of the turn, and to the end of what the turn ran."""
        pid_file = self.directory / "state/pid"
        pid_file.unlink(missing_ok=True)
        self.model.script = run_for_long
        await self.world.deliver("run")
        await until(lambda: pid_file.exists() and pid_file.read_text().strip())
        command = Path("/proc", pid_file.read_text().strip())
        began = time.monotonic()
        asked = await self.world.command(CancelTurn())
        gone = asyncio.ensure_future(until(lambda: not command.exists()))
        gone.add_done_callback(lambda _: setattr(self, "gone_at", time.monotonic()))
        ended = await self.world.turn_end()
        over_s = time.monotonic() - began
        assert ended["outcome"] == "cancelled", ended
        await gone
        await self.world.answer(asked)
        self.model.script = say_done
        return over_s, self.gone_at - began

    async def engine_closed(self) -> None:
        while self.harness.runner is None or self.harness.runner.pid is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def run_for_long(request: ModelRequest) -> Reply:
    return Reply("", (ToolUse("Bash", {"command": "echo $$ > pid; sleep 600"}),))


@asynccontextmanager
async def agent(redis: RedisServer, *, idle_s: float) -> AsyncIterator[Agent]:
    with tempfile.TemporaryDirectory() as directory, ModelServer() as model:
        config = config_for(Path(directory), Engine.CLAUDE, idle_close_s=idle_s)
        config = replace(config, claude=claude_program(), credentials=model.credentials())
        bus = RedisBus(redis.address)
        async with outside(bus) as world, running(config, bus) as harness:
            yield Agent(world, harness, model, Path(directory))
        await bus.aclose()


@dataclass(slots=True)
class Seconds:
    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)


async def measure(turns: int, warm_redis: RedisServer, cold_redis: RedisServer) -> Seconds:
    """All kinds by turns, so that what else the machine does weighs on all."""
    found = Seconds()
    async with agent(warm_redis, idle_s=600) as warm, agent(cold_redis, idle_s=0) as cold:
        await warm.turn()
        await cold.turn()
        for _ in range(turns):
            await cold.engine_closed()
            found.warm.append(await warm.turn())
            found.cold.append(await cold.turn())
            over_s, gone_s = await warm.cancel()
            found.over.append(over_s)
            found.gone.append(gone_s)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="turns of each kind")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with redis_server() as warm_redis, redis_server() as cold_redis:
        found = asyncio.run(measure(options.turns, warm_redis, cold_redis))
    warm, cold = statistics.median(found.warm), statistics.median(found.cold)
    print(f"message in the inbox → first request at the model, median of {options.turns} turns")
    print(f"  warm engine           {warm * 1000:8.1f} ms   (worst {max(found.warm) * 1000:.1f})")
    print(f"  one process per turn  {cold * 1000:8.1f} ms   (worst {max(found.cold) * 1000:.1f})")
    print(f"  ratio                 {warm / cold:8.3f}      (expected at most {EXPECTED_RATIO})")
    print(f"cancel of a turn that runs a command, median of {options.turns}; the limit is {CANCEL_LIMIT_S:g} s")
    for name, times in (("turn over", found.over), ("command gone", found.gone)):
        worst = max(times)
        print(f"  {name:<22}{statistics.median(times) * 1000:8.1f} ms   (worst {worst * 1000:.1f})")
        print(f"  ratio to the limit    {worst / CANCEL_LIMIT_S:8.3f}      (the worst; at most 1)")


if __name__ == "__main__":
    main()
