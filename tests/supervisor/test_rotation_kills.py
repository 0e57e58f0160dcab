"""A supervisor that dies before any step of a rotation: the next one finishes it, on a real server.

The death is simulated, as an exception that nothing catches; tests/system/test_rotation.py kills a real one.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from tests.broker.post import register, told_as
from tests.support.killed_at.points import Point, points
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.credentials import CredentialsRotated, RotateCredentials
from hive_contracts.envelope import Envelope
from hive_runtime.passwords import PasswordFiles
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_supervisor.principals import Principals
from hive_supervisor.rotation import Rotation

pytestmark = pytest.mark.system

SERVICE: Final = "hive-broker"
AGENT: Final = "agent-ada"

RENEWING: Final = ("async with", "if new", "await self", "self._files.write")
DROPPING: Final = (
    "async with",
    "await self._set",
    "await self._admin.save",
    "await self._admin.disconnect",
    "self._files",
)
CARRYING: Final = (
    "for user",
    "await persist(lambda user",
    "await self",
    "agents.append",
    "self._now =",
    "await persist(lambda: self._bus",
)
POINTS: Final = [
    *points(Rotation.request, only=("users =", "self._now =", "await self._keep", "self._asked")),
    *points(Rotation._keep, only=("file.", "partial.replace", "await")),
    *points(Rotation._carry_out, only=CARRYING),
    *points(Principals.renew, only=RENEWING),
    *points(Principals.drop_old, only=DROPPING),
    *points(PasswordFiles.begin, only=("os.link", "return")),
    *points(PasswordFiles.end),
    *points(Rotation._restart_all, only=("while", "await self")),
    *points(Rotation._move),
    *points(Rotation._done, only=("now =", "self._now =", "await self")),
]


class Killed(BaseException):
    """Nothing in the hive catches it."""


@contextmanager
def killed_at(point: Point) -> Iterator[list[Point]]:
    """Who comes there first is; yields where that was."""
    struck: list[Point] = []

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lineno == point.line and not struck:
            struck.append(point)
            raise Killed(point)
        return on_line

    def on_call(frame: FrameType, _: str, __: Any) -> Any:
        code = frame.f_code
        return on_line if code.co_name == point.function and code.co_filename.endswith(f"/{point.file}") else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield struck
    finally:
        sys.settrace(before)


class Fleet:
    """One agent, whose container starts as the real fleet starts it: with the new password."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def names(self) -> list[str]:
        return ["ada"]

    def wanted(self, name: str) -> Desired | None:
        return Desired.RUNNING

    async def restart(self, name: str) -> None:
        await self._principals.fresh_agent(name)

    async def settled(self, name: str) -> None:
        return


async def life(server: RedisServer, folder: Path, command: Envelope) -> None:
    """Of one supervisor: it takes the command, which nobody has acknowledged, and carries it out."""
    bus = RedisBus(server.address, load_functions=True)
    async with aclosing(bus), aclosing(RedisAdmin(server.address)) as admin:
        principals = Principals(admin, bus, folder / "secrets")
        await principals.ensure_services()
        await principals.ensure_agent("ada")
        journal = folder / "rotation.json"
        rotation = Rotation(bus, Fleet(principals), principals, journal=journal, turn_wait_s=0)
        with suppress(Killed):
            await rotation.request(command)
            running = asyncio.create_task(rotation.run())
            while not running.done() and not ended(journal):  # noqa: ASYNC110 - it says so in a file
                await asyncio.sleep(0.005)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def ended(journal: Path) -> bool:
    return bool(json.loads(journal.read_text())["ended_at"])


def gets_in(server: RedisServer, user: str, password: str) -> bool:
    with suppress(AuthenticationError):
        address = f"{server.directory}/redis.sock"
        Redis(unix_socket_path=address, username=user, password=password, retry=Retry(NoBackoff(), 0)).ping()
        return True
    return False


async def facts(server: RedisServer) -> list[CredentialsRotated]:
    async with aclosing(RedisBus(server.address)) as bus:
        return await told_as(bus, streams.EVENTS, CredentialsRotated)


async def begin(server: RedisServer) -> None:
    async with aclosing(RedisBus(server.address, load_functions=True)) as bus:
        await register(bus, "ada")


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_the_next_supervisor_finishes_it_and_each_user_has_one_new_password(
    redis: RedisServer, tmp_path: Path, point: Point
) -> None:
    asyncio.run(begin(redis))
    files = PasswordFiles(tmp_path / "secrets")
    before = {user: files.valid(user)[0] for user in (SERVICE, AGENT, "hive-dashboard")}
    command = Envelope.of(RotateCredentials(names=(SERVICE, "ada")), source="operator")
    with killed_at(point) as struck, suppress(Killed):
        asyncio.run(life(redis, tmp_path, command))
    assert struck
    asyncio.run(life(redis, tmp_path, command))

    report = json.loads((tmp_path / "rotation.json").read_text())
    assert (sorted(report["done"]), report["waiting"], report["cut_short"]) == ([AGENT, SERVICE], [], [])
    assert list((tmp_path / "secrets").glob("*.old")) == []
    for user, old in before.items():
        (now,) = files.valid(user)
        assert (now == old) == (user == "hive-dashboard")
        assert gets_in(redis, user, now)
        assert gets_in(redis, user, old) == (now == old)
    assert len({fact.command for fact in asyncio.run(facts(redis))}) == 1
