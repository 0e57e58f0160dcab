"""Two broker processes over one Redis and one data directory: they share the load, and deliver nothing twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
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


@contextmanager
def _broker(redis: RedisServer, data_dir: Path, log_name: str) -> Iterator["subprocess.Popen[bytes]"]:
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
    with (data_dir / log_name).open("ab") as log:
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
            with ExitStack() as running:
                first = running.enter_context(_broker(redis, tmp_path, "one.log"))
                await eventually(lambda: _brokers_agree(bus, 1))
                running.enter_context(_broker(redis, tmp_path, "two.log"))
                await eventually(lambda: _brokers_agree(bus, 2))
                await _send_all(bus, range(ROUNDS // 3))
                await eventually(lambda: _is_delivered(bus, ROUNDS // 3))
                await _send_to_nobody(bus)
                await until(lambda: len(_served(tmp_path / "one.log") | _served(tmp_path / "two.log")) == len(SENDERS))
                one, two = _served(tmp_path / "one.log"), _served(tmp_path / "two.log")
                assert one
                assert two
                assert not one & two
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


async def _brokers_agree(bus: RedisBus, count: int) -> bool:
    """Each has told the others that it has stopped what is not its own among so many."""
    places = await bus.hash_all(streams.BROKERS)
    return len(places) == count and all(name in place for name in places for place in places.values())


async def _is_delivered(bus: RedisBus, rounds: int) -> bool:
    return await bus.depth(streams.inbox("sink")) >= len(SENDERS) * rounds * EACH


async def _send_to_nobody(bus: RedisBus) -> None:
    """Which the broker that serves the outbox notes in its log."""
    for sender in SENDERS:
        await bus.append(streams.outbox(sender), send("nobody", key=f"{sender}-to-nobody"))


def _served(log: Path) -> set[str]:
    """Senders of whom this broker refused a message."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["sender"] for line in lines if line["event"] == "message refused"}


def _recorded(data_dir: Path) -> int:
    return MessageReader(data_dir / "broker.sqlite").unread().get("sink", 0)
