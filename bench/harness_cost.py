"""What a harness costs before it does anything: time from start to ready, and resident memory.

Beside it, in the same run, an interpreter that does no more than import the MCP SDK's server.
Usage: python -m bench.harness_cost [--starts N]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.agent_rig import AGENT, of_type, outside
from tests.support.redis_server import ADMIN_PASSWORD, RedisServer, redis_server

from hive_runtime.redis_bus import RedisBus

LIMIT_S, LIMIT_MB = 1.0, 60
SDK = "import mcp.server.mcpserver; print('ready', flush=True); import sys; sys.stdin.read()"


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    megabytes: float


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def harness_cost(redis: RedisServer) -> Cost:
    with tempfile.TemporaryDirectory() as directory:
        bus = RedisBus(redis.address)
        async with outside(bus) as world:
            world.cursor = await bus.last_id(f"hive:{{{AGENT}}}:live")
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hive_harness",
                env=_environment(Path(directory), redis),
                stderr=subprocess.DEVNULL,
            )
            try:
                await world.until(lambda event: event.data.get("state", {}).get("state") == "idle")
                ready_s = time.monotonic() - began
                await world.deliver("!say one turn, so that every part is loaded", key=directory)
                await world.until(of_type("turn.ended"))
                cost = Cost(ready_s, resident_mb(process.pid))
            finally:
                process.terminate()
                await process.wait()
        await bus.aclose()
    return cost


def _environment(directory: Path, redis: RedisServer) -> dict[str, str]:
    password = directory / "password"
    password.write_text(ADMIN_PASSWORD)
    return {
        "PATH": os.environ["PATH"],
        "HIVE_AGENT_NAME": AGENT,
        "HIVE_ENGINE": "scripted",
        "HIVE_STATE_DIR": str(directory),
        "HIVE_REDIS_URL": redis.address.url,
        "HIVE_REDIS_USER": "admin",
        "HIVE_REDIS_PASSWORD_FILE": str(password),
    }


def sdk_cost() -> Cost:
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", SDK], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        return Cost(time.monotonic() - began, resident_mb(process.pid))


def report(name: str, costs: list[Cost]) -> Cost:
    middle = Cost(
        statistics.median(cost.seconds for cost in costs), statistics.median(cost.megabytes for cost in costs)
    )
    print(f"  {name:<28}{middle.seconds:6.2f} s {middle.megabytes:7.1f} MB")
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=7, help="starts of each kind")
    options = parser.parse_args()
    harness, sdk = [], []
    with redis_server() as redis:
        for _ in range(options.starts):
            harness.append(asyncio.run(harness_cost(redis)))
            sdk.append(sdk_cost())
    print(f"start to ready, and resident memory; median of {options.starts} starts")
    ours = report("harness, after a turn", harness)
    theirs = report("import of the MCP SDK alone", sdk)
    ratios = f"{ours.seconds / theirs.seconds:6.2f}   {ours.megabytes / theirs.megabytes:7.2f}"
    print(f"  {'ratio':<28}{ratios}    (aim: {LIMIT_S:g} s, {LIMIT_MB} MB)")


if __name__ == "__main__":
    main()
