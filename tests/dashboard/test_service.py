"""The dashboard as a server: streams over a real socket, stopping, and a port that is taken."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.dashboard.process import dashboard_process, free_port
from tests.dashboard.scene import brokered
from tests.support.redis_server import RedisServer

from hive_dashboard.config import DashboardSettings
from hive_dashboard.service import Dashboard, listen
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_bus import RedisBus

LONGEST_STOP_S = 2.0


def served(tmp_path: Path, scenario: Callable[[Dashboard, httpx.AsyncClient], Awaitable[None]]) -> None:
    """Runs `scenario` with a signed-in client of a dashboard that listens."""

    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        bus = MemoryBus()
        dashboard = Dashboard(DashboardSettings(), tmp_path, bus)
        serving = asyncio.create_task(dashboard.serve(listener))
        try:
            async with (
                asyncio.timeout(20),
                brokered(bus, tmp_path) as scene,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as browser,
            ):
                await scene.agent("hm1nd")
                await browser.get(f"/sign-in?token={dashboard.parts.store.new_link()}")
                await scenario(dashboard, browser)
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            dashboard.close()

    asyncio.run(main())


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    found: dict[str, str] = {}
    async for line in lines:
        if not line:
            if "event" in found:
                yield found
            found = {}
        elif not line.startswith(":"):
            key, _, value = line.partition(": ")
            found[key] = found.get(key, "") + value


def test_events_stream_and_resume_by_last_event_id(tmp_path: Path) -> None:
    async def scenario(dashboard: Dashboard, browser: httpx.AsyncClient) -> None:
        hub = dashboard.parts.hub
        address = f"/stream?page=home&after={hub.cursor('home')}"
        hub.publish("home", "test", "one")
        async with browser.stream("GET", address) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            stream = events(answer.aiter_lines())
            while (first := await anext(stream))["event"] != "test":
                pass
            assert first["data"] == "one"
        hub.publish("home", "test", "two")
        async with browser.stream("GET", address, headers={"last-event-id": first["id"]}) as answer:
            stream = events(answer.aiter_lines())
            while (second := await anext(stream))["event"] != "test":
                pass
            assert second["data"] == "two"
        async with browser.stream("GET", address, headers={"last-event-id": "0badcafe.1"}) as answer:
            assert (await anext(events(answer.aiter_lines())))["event"] == "reset"

    served(tmp_path, scenario)


def test_a_stream_needs_a_session_and_a_page_that_is_there(tmp_path: Path) -> None:
    async def scenario(_: Dashboard, browser: httpx.AsyncClient) -> None:
        assert (await browser.get("/stream?page=agent&name=ghost")).status_code == 404
        assert (await browser.get("/stream?page=nowhere")).status_code == 404
        browser.cookies.clear()
        assert (await browser.get("/stream?page=home")).status_code == 401

    served(tmp_path, scenario)


def test_a_client_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    async def scenario(dashboard: Dashboard, browser: httpx.AsyncClient) -> None:
        for _ in range(20):
            async with browser.stream("GET", "/stream?page=home"):
                assert dashboard.parts.hub.clients >= 1
        while dashboard.parts.hub.clients:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.01)

    served(tmp_path, scenario)


@pytest.mark.system
def test_a_port_that_is_taken_is_one_sentence_and_an_exit_status(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {
            "HIVE_DATA_DIR": str(tmp_path),
            "HIVE_REDIS_URL": f"unix://{tmp_path}/none.sock",
            "HIVE_DASHBOARD_PORT": str(port),
        }
        command = [sys.executable, "-m", "hive_dashboard"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.system
def test_a_missing_setting_is_one_sentence() -> None:
    command = [sys.executable, "-m", "hive_dashboard"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 78
    assert "HIVE_DATA_DIR is not set" in done.stderr


@pytest.mark.system
def test_it_stops_at_once_with_streams_open_and_starts_while_redis_is_away(redis: RedisServer, tmp_path: Path) -> None:
    port = free_port()
    with dashboard_process(redis, tmp_path, port) as process:
        redis.kill()

        async def scenario() -> None:
            async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                await process.answers(http, "/healthz", 200)
                await process.answers(http, "/readyz", 503)
                http.headers["authorization"] = f"Bearer {process.api_token}"
                link = (await http.post("/api/v1/sign-in-links")).json()["url"]
                await http.get(link)
                assert "Redis is away" in (await http.get("/")).text
                async with http.stream("GET", "/stream?page=home") as answer:
                    await anext(answer.aiter_raw())
                    process.child.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(process.child.wait, LONGEST_STOP_S) == 0

        asyncio.run(scenario())


@pytest.mark.system
def test_it_carries_on_when_redis_comes_back(redis: RedisServer, tmp_path: Path) -> None:
    port = free_port()
    with dashboard_process(redis, tmp_path, port) as process:

        async def phase(status: int) -> None:
            async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                await process.answers(http, "/readyz", status)

        asyncio.run(phase(200))
        redis.kill()
        asyncio.run(phase(503))
        redis.start()
        asyncio.run(phase(200))

        async def send() -> int:
            bus = RedisBus(redis.address, load_functions=True)
            headers = {"authorization": f"Bearer {process.api_token}"}
            async with (
                brokered(bus, tmp_path) as scene,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as http,
            ):
                await scene.agent("hm1nd")
                answer = await http.post("/api/v1/messages", json={"to": "hm1nd", "body": "still there?"})
            await bus.aclose()
            return answer.status_code

        assert asyncio.run(send()) == 201


@pytest.mark.system
def test_a_broken_port_setting_is_one_sentence(tmp_path: Path) -> None:
    environment = {"HIVE_DATA_DIR": str(tmp_path), "HIVE_REDIS_URL": "unix:///x", "HIVE_DASHBOARD_PORT": "many"}
    command = [sys.executable, "-m", "hive_dashboard"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 78
    assert "HIVE_DASHBOARD_PORT" in done.stderr
