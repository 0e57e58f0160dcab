"""`hive doctor` beside a running hive: it finds nothing wrong, then what is broken in it by hand, and mends that."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
from tests.support.hive import Hive, hive

from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_url import RedisAddress

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive("--engine", "scripted") as started:
        started.cli("spawn", "ada")
        yield started


def doctor(running: Hive, *words: str, status: int = 0) -> dict[str, Any]:
    return dict(json.loads(running.cli("doctor", "--json", *words, status=status)))


def administer(running: Hive, *words: str) -> None:
    """As root of the machine may, with the supervisor's password."""

    async def run() -> None:
        url = json.loads((running.data_dir / "run" / "hive.json").read_text())["redis"]
        password = (running.data_dir / "secrets" / "redis-hive-supervisor").read_text().strip()
        async with aclosing(RedisAdmin(RedisAddress(url, "hive-supervisor", password))) as admin:
            await admin.set_user(words[0], words[1:])

    asyncio.run(run())


def test_a_healthy_hive_has_nothing_wrong(running: Hive) -> None:
    found = doctor(running)
    assert [one for one in found["findings"] if one["state"] == "wrong"] == []
    about = {one["check"]: one["text"] for one in found["findings"] if one["check"] in ("users", "containers")}
    assert about["users"].startswith("5 as they should be")
    assert about["containers"] == "2, each of an agent that is there"


def test_what_was_broken_by_hand_is_named_and_mended_while_everything_runs(running: Hive) -> None:
    administer(running, "agent-ada", "~*", "+@all")
    (wrong,) = [one for one in doctor(running, "users", status=1)["findings"] if one["state"] == "wrong"]
    assert wrong["text"] == "agent-ada has other rights than it needs"
    assert doctor(running, "users", "--fix")["mended"] == ["users: agent-ada is made anew"]
    running.send("ada", "!send operator still here")
    running.cli("stop", "ada")
    assert doctor(running, "users", "containers")["ok"]
