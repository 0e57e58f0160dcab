"""Drain mode on a real server with little memory: said everywhere, nothing new taken on, and over by itself."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

import httpx
import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnNote
from hive_runtime.redis_bus import RedisBus, call, connect
from hive_runtime.redis_url import RedisAddress

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

MAXMEMORY_MB: Final = 24
ALMOST_FULL: Final = 0.92
FILLER_BYTES: Final = 256 * 1024
FILLERS: Final = 4 * MAXMEMORY_MB
NOTE: Final = "x" * 8000
SWEPT: Final = "streams swept in drain mode"


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive(environment={"HIVE_REDIS_MAXMEMORY": f"{MAXMEMORY_MB}mb"}) as started:
        yield started


def test_drain_mode_is_said_everywhere_takes_nothing_new_and_does_what_is_there(running: Hive) -> None:
    running.cli("spawn", "ada")
    begun = running.send("hm1nd", "!sleep 3\n!say done at last")
    waiting = running.send("hm1nd", "!say I had to wait")
    with filled(running, ALMOST_FULL):
        wait_until(lambda: status(running)["drain"]["active"])
        assert "redis.maxmemory" in status(running)["drain"]["reason"]
        text = running.cli("status")
        assert "drain mode" in text
        assert "No new messages are taken on" in text
        assert json.loads(running.cli("status", "--json"))["drain"]["active"] is True
        wait_until(lambda: refuses(running))  # the broker looks for itself, a second later or sooner
        refused = running.cli("send", "ada", "one more", status=4)
        assert "drain mode" in refused
        assert "it goes on by itself" in refused
        for path in ("/", "/messages", "/questions", "/dead-letters", "/agents/ada", f"/messages/{begun}"):
            assert "Drain mode: Redis uses" in page(running, path), path
        wait_until(lambda: {state(running, begun), state(running, waiting)} == {"acked"}, within_s=120)
        assert status(running)["drain"]["active"]
        wait_until(lambda: "Drain mode: little memory" in running.output)
    wait_until(lambda: not status(running)["drain"]["active"])
    wait_until(lambda: "accepted" in sent(running, "ada", "welcome back"))
    assert "Drain mode" not in page(running, "/")


def test_what_is_only_kept_to_look_back_at_goes_first_and_drain_mode_ends_by_itself(running: Hive) -> None:
    live = streams.live("hm1nd")

    async def fill(redis: Any) -> None:
        async with aclosing(RedisBus(address(running))) as bus:
            while (await bus.memory()).used < ALMOST_FULL * MAXMEMORY_MB * 1024**2:
                pipeline = redis.pipeline(transaction=False)
                for _ in range(100):
                    note = TurnNote(text=NOTE, turn_id="t-none", seq=0)
                    pipeline.xadd(live, Envelope.of(note, source="hm1nd").encode())
                await call(pipeline.execute())

    log = running.data_dir / "logs" / "supervisor.log"
    before = log.read_text().count(SWEPT)
    on_server(running, fill)
    wait_until(lambda: log.read_text().count(SWEPT) > before, within_s=120)
    wait_until(lambda: not status(running)["drain"]["active"], within_s=120)
    wait_until(lambda: not refuses(running))
    done = running.send("hm1nd", "!say and on")
    wait_until(lambda: state(running, done) == "acked")


def test_a_server_that_takes_no_writes_at_all_is_said_everywhere_and_left_behind(running: Hive) -> None:
    limit = "maxmemory"
    on_server(running, lambda redis: call(redis.config_set(limit, "1mb")))
    wait_until(lambda: status(running)["redis"]["status"] == "full")
    assert status(running)["drain"]["active"]
    assert "Redis takes no writes" in running.cli("send", "ada", "one more", status=4)
    assert "Drain mode: Redis takes no writes" in page(running, "/messages")
    on_server(running, lambda redis: call(redis.config_set(limit, f"{MAXMEMORY_MB}mb")))
    wait_until(lambda: status(running)["redis"]["status"] == "ok" and not status(running)["drain"]["active"])
    wait_until(lambda: "accepted" in sent(running, "ada", "welcome back"))


@contextmanager
def filled(running: Hive, part: float) -> Iterator[None]:
    """Something else takes up the server's memory, up to this part of its limit."""

    async def fill(redis: Any) -> None:
        used = int((await call(redis.info("memory")))["used_memory"])
        for number in range(round((part * MAXMEMORY_MB * 1024**2 - used) / FILLER_BYTES)):
            await call(redis.setrange(f"filler-{number}", FILLER_BYTES, "x"))

    on_server(running, fill)
    try:
        yield
    finally:
        on_server(running, lambda redis: call(redis.delete(*(f"filler-{number}" for number in range(FILLERS)))))


def on_server(running: Hive, work: Callable[[Any], Any]) -> Any:
    async def scenario() -> Any:
        async with aclosing(connect(address(running))) as redis:
            return await work(redis)

    return asyncio.run(scenario())


def address(running: Hive) -> RedisAddress:
    """The supervisor's, who may do everything."""
    password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
    return RedisAddress(f"unix://{running.data_dir}/run/redis/redis.sock", "hive-supervisor", password)


def status(running: Hive) -> Any:
    return running.api("GET", "/status")


def state(running: Hive, message_id: str) -> str:
    return str(running.api("GET", f"/messages/{message_id}")["message"]["state"])


def refuses(running: Hive) -> bool:
    try:
        running.send("ada", "one more")
    except httpx.HTTPStatusError as error:
        return error.response.status_code == httpx.codes.INSUFFICIENT_STORAGE
    return False


def sent(running: Hive, to: str, body: str) -> str:
    """What the command prints once it is allowed again."""
    try:
        return running.cli("send", to, body)
    except AssertionError:
        return ""


def page(running: Hive, path: str) -> str:
    with httpx.Client(base_url=running.address, follow_redirects=True) as browser:
        browser.get(running.sign_in_link())
        return browser.get(path).raise_for_status().text
