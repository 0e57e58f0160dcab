"""A hive on a Redis with a replica and three Sentinels: the primary is killed in a conversation."""

from collections.abc import Iterator
from functools import partial

import pytest
from tests.support.away import answers, state
from tests.support.hive import Hive, hive
from tests.support.sentinels import Trio, command, trio
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def servers() -> Iterator[Trio]:
    with trio() as found:
        yield found


@pytest.fixture(scope="module")
def running(servers: Trio) -> Iterator[Hive]:
    with hive("--engine", "scripted", "--redis", servers.url) as started:
        started.cli("spawn", "ada")
        yield started


def test_users_are_made_at_the_replica_too_since_nothing_copies_them(running: Hive, servers: Trio) -> None:
    (replica,) = servers.servers.keys() - {servers.primary()}
    for user in ("hive-supervisor", "hive-broker", "hive-dashboard", "agent-hm1nd", "agent-ada"):
        wait_until(partial(_has_user, replica, user), within_s=60)
    assert "sentinel-test" not in running.output


def test_the_hive_follows_to_the_new_primary_and_each_message_is_answered_once(running: Hive, servers: Trio) -> None:
    harness = running.process_of("hive_harness", agent="ada")
    first = running.send("ada", "!send operator before the fall\n!sleep 3\n!send operator after the fall")
    others = [running.send("hm1nd", f"!send operator number {number}") for number in range(5)]
    wait_until(lambda: "before the fall" in running.answers())
    wait_until(lambda: state(running, others[-1]) == "acked", within_s=60)
    before = servers.primary()
    (replica,) = servers.servers.keys() - {before}
    wait_until(lambda: _offset(replica) >= _offset(before))
    servers.kill(before)
    wait_until(lambda: servers.primary() == replica, within_s=60)
    wait_until(lambda: "after the fall" in answers(running), within_s=90)
    wait_until(lambda: state(running, first) == "acked", within_s=90)
    bodies = answers(running)
    for body in ("before the fall", "after the fall", *(f"number {number}" for number in range(5))):
        assert bodies.count(body) == 1, body
    running.cli("spawn", "lin")
    running.send("lin", "!send ada !send operator on the new one")
    wait_until(lambda: "on the new one" in answers(running), within_s=60)
    assert running.process_of("hive_harness", agent="ada") == harness


def _has_user(port: int, user: str) -> bool:
    return user in command(port, "ACL", "USERS").split()


def _offset(port: int) -> int:
    for line in command(port, "INFO", "replication").splitlines():
        name, _, number = line.partition(":")
        if name in ("master_repl_offset", "slave_repl_offset"):
            return int(number)
    return -1
