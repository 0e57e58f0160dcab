"""schemathesis asks everything of the API that its own description allows, and much that it forbids."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.dashboard.process import dashboard_process, free_port
from tests.dashboard.scene import Scene, brokered
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import CommandFailed, ContainerStatus, Desired
from hive_contracts.envelope import Envelope
from hive_runtime.consumer import Consumer
from hive_runtime.redis_bus import RedisBus

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

EXAMPLES = 5
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def refuse_commands(scene: Scene) -> None:
    """Be a supervisor that does nothing, until cancelled."""
    await scene.bus.ensure_group(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR)
    consumer = Consumer(scene.bus, streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR, "scene")
    try:
        while True:
            for entry in await consumer.read():
                asked = Envelope.decode(entry.fields)
                failed = CommandFailed(command=asked.type, subject="", code="refused", reason="not in this play")
                await scene.tell(failed, correlation_id=asked.id)
    finally:
        await consumer.aclose()


async def furnish(scene: Scene) -> None:
    await scene.agent("hm1nd", container=ContainerStatus.STOPPED, desired=Desired.STOPPED)
    await scene.state("hm1nd")
    await scene.send("operator", "hm1nd", "hello")
    await scene.send("hm1nd", "operator", "hello")


def test_no_call_of_the_api_ends_in_a_server_error_or_says_what_it_does_not_describe(
    redis: RedisServer, tmp_path: Path
) -> None:
    with dashboard_process(redis, tmp_path, free_port()) as process:

        async def main() -> tuple[int, str]:
            bus = RedisBus(redis.address, load_functions=True)
            try:
                async with httpx.AsyncClient(base_url=process.address) as http, brokered(bus, tmp_path) as scene:
                    await process.answers(http, "/readyz", 200)
                    await furnish(scene)
                    supervisor = asyncio.create_task(refuse_commands(scene))
                    try:
                        return await asyncio.to_thread(ask, process.address, process.api_token, tmp_path)
                    finally:
                        supervisor.cancel()
                        await asyncio.wait([supervisor])
            finally:
                await bus.aclose()

        status, said = asyncio.run(main())
        assert status == 0, said
        log = (tmp_path / "dashboard.log").read_text()
        assert "Traceback" not in log, log[-3000:]


def ask(address: str, token: str, folder: Path) -> tuple[int, str]:
    # fmt: off
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{address}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {token}", "--checks", CHECKS, "--max-examples", str(EXAMPLES),
            "--phases", "coverage,fuzzing", "--max-time", "40", "--seed", "7", "--workers", "1", "--no-color",
            "--generation-database", "none", "--request-timeout", "20", "--continue-on-failure",
        ],
        capture_output=True, text=True, timeout=200, check=False, cwd=folder,
    )
    # fmt: on
    return done.returncode, done.stdout[-20_000:] + done.stderr[-3_000:]
