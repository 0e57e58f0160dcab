"""kill -9 of the supervisor before every line of a purge: the next one finishes it, and nothing of it is left."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from redis import Redis
from tests.support.hive import Hive, hive
from tests.support.killed_at.points import Point, environment, points, strike_at
from tests.support.waiting import wait_until

from hive_runtime import wiping
from hive_runtime.redis_admin import RedisAdmin
from hive_supervisor.commands import Commands
from hive_supervisor.fleet import Fleet
from hive_supervisor.principals import Principals

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

POINTS: Final = [
    *points(Commands._let_happen, only=("await self._fleet.apply",)),
    *points(Commands._outcome, only=("async with asyncio.timeout",)),
    *points(Fleet._purge, only=("await", "del")),
    *points(Principals.remove_agent),
    *points(RedisAdmin.wipe),
    *points(wiping.wipe, only=("if path", "path", "with", "_empty")),
    *points(wiping._empty, only=("os.rmdir",)),
    *points(Commands._reply, only=("await self._bus.write",)),
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills") / "plan"


@pytest.fixture(scope="module")
def running(plan: Path) -> Iterator[Hive]:
    with hive(environment=environment(plan, POINTS)) as it:
        yield it


def server(running: Hive) -> Any:
    password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
    address = str(running.data_dir / "run" / "redis" / "redis.sock")
    return Redis(unix_socket_path=address, username="hive-supervisor", password=password, decode_responses=True)


def left_of(running: Hive, name: str) -> list[str]:
    """Files, Redis keys, fields and users, rows of sqlite."""
    found = [there for there, _, files in os.walk(running.data_dir) if name in there or name in str(files)]
    with closing(server(running)) as redis:
        keys = list(redis.scan_iter("*", count=1000))
        found += [key for key in keys if name in key]
        hashes = [key for key in keys if redis.type(key) == "hash"]
        found += [
            f"{key} {field}" for key in hashes for field, text in redis.hgetall(key).items() if name in field + text
        ]
        found += [user for user in redis.acl_users() if name in user]
    saved = (running.data_dir / "redis" / "users.acl").read_text()
    found += [line for line in saved.splitlines() if name in line]
    waiting = {
        "supervisor": ["SELECT name FROM agents WHERE name = :name"],
        "broker": [
            "SELECT id FROM messages WHERE recipient = :name AND state NOT IN ('acked', 'dead', 'expired')",
            "SELECT id FROM questions WHERE state = 'open' AND :name IN (asker, addressee)",
            "SELECT id FROM reminders WHERE state = 'waiting' AND owner = :name",
        ],
    }
    for store, queries in waiting.items():
        with closing(sqlite3.connect(f"file:{running.data_dir / store}.sqlite?mode=ro", uri=True)) as db:
            for query in queries:
                found += [f"{store}: {row[0]}" for row in db.execute(query, {"name": name})]
    return found


def states(running: Hive, name: str) -> list[str]:
    """Of the messages to it that are on record."""
    return [message["state"] for message in running.api("GET", f"/agents/{name}/inbox")["messages"]]


@pytest.mark.parametrize(("number", "point"), list(enumerate(POINTS)), ids=[str(point) for point in POINTS])
def test_a_purge_that_is_cut_off_is_finished(running: Hive, plan: Path, number: int, point: Point) -> None:
    name = f"purged{number}"
    running.api("POST", "/agents", json={"name": name})
    running.send(name, '!call remind {"message": "later", "delay_seconds": 3600}\n!call ask_operator {"question": "?"}')
    wait_until(lambda: "acked" in states(running, name), within_s=30)
    running.api("DELETE", f"/agents/{name}")
    strike_at(plan, point)
    with suppress(httpx.HTTPError):  # its answer may be late, or cut off
        running.api("DELETE", f"/agents/{name}", params={"purge": True})
    wait_until(lambda: not plan.exists(), within_s=30)
    with suppress(TimeoutError):
        wait_until(lambda: left_of(running, name) == [], within_s=30)
    assert left_of(running, name) == []
    wait_until(lambda: name not in str(running.api("GET", "/agents")), within_s=30)
