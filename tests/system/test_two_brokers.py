"""Two broker processes over one Redis and one data directory: they share the load, and deliver nothing twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from tests.broker.post import inbox, register, send, told_as
from tests.support.redis_server import ADMIN_PASSWORD, RedisServer
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.messages import MessageAccepted
from hive_runtime.bus import ensure_principal
from hive_runtime.process import die_with_parent
from hive_runtime.records.messages import MessageReader
from hive_runtime.redis_bus import RedisBus

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SENDERS = [f"agent-{number}" for number in range(8)]
ROUNDS = 12
EACH = 10
LEAST = 4
"""Connections that a broker without any outbox of its own would have, at most."""


@contextmanager
def _broker(redis: RedisServer, data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    (data_dir / "password").write_text(ADMIN_PASSWORD)
    environment = {
        **os.environ,
        "HIVE_DATA_DIR": str(data_dir),
        "HIVE_REDIS_URL": redis.address.url,
        "HIVE_REDIS_USER": "admin",
        "HIVE_REDIS_PASSWORD_FILE": str(data_dir / "password"),
        "HIVE_BROKER_SENDER_PER_MINUTE": "100000",
        "HIVE_BROKER_PAIR_PER_MINUTE": "100000",
        "HIVE_BROKER_INBOX_HARD": "100000",
    }
    with (data_dir / "broker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hive_broker"],
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_two_brokers_share_the_load_and_a_killed_ones_share_goes_on_with_nothing_lost_or_twice(
    redis: RedisServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address, load_functions=True)) as bus:
            await register(bus, "sink", *SENDERS)
            await ensure_principal(bus, "operator")
            with _broker(redis, tmp_path) as first, _broker(redis, tmp_path) as second:
                await eventually(lambda: _brokers(bus, 2))
                await _send_all(bus, range(ROUNDS // 3))
                await eventually(lambda: _is_delivered(bus, ROUNDS // 3))
                assert _connections(first) > LEAST
                assert _connections(second) > LEAST
                sending = asyncio.ensure_future(_send_all(bus, range(ROUNDS // 3, ROUNDS)))
                first.kill()  # it kept the stores, too
                await sending
                await eventually(lambda: _is_delivered(bus, ROUNDS), within_s=40)
                bodies = [(message.sender, message.body) for message in await inbox(bus, "sink")]
                for sender in SENDERS:
                    mine = [body for who, body in bodies if who == sender]
                    assert mine == [str(number) for number in range(ROUNDS * EACH)]
                assert set(Counter(bodies).values()) == {1}
                await until(lambda: _recorded(tmp_path) == len(SENDERS) * ROUNDS * EACH, within_s=60)
                for sender in SENDERS:
                    answers = await told_as(bus, streams.control(sender), MessageAccepted)
                    assert len({answer.message_id for answer in answers}) == ROUNDS * EACH

    asyncio.run(scenario())


async def _send_all(bus: RedisBus, rounds: range) -> None:
    for number in rounds:
        for sender in SENDERS:
            for body in range(number * EACH, (number + 1) * EACH):
                await bus.append(streams.outbox(sender), send("sink", str(body), key=f"{sender}-{body}"))


async def _brokers(bus: RedisBus, count: int) -> bool:
    return len(await bus.hash_all(streams.BROKERS)) == count


async def _is_delivered(bus: RedisBus, rounds: int) -> bool:
    return await bus.depth(streams.inbox("sink")) >= len(SENDERS) * rounds * EACH


def _connections(process: "subprocess.Popen[bytes]") -> int:
    """To the server: one for each outbox of its own, and a few besides."""
    links = [link.readlink().name for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()]
    return sum(name.startswith("socket:") for name in links)


def _recorded(data_dir: Path) -> int:
    return MessageReader(data_dir / "broker.sqlite").unread().get("sink", 0)
