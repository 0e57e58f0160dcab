"""A server of the user's own: what is refused, and what is made there."""

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.redis_server import RedisServer

from hive_cli.errors import UsageProblem
from hive_cli.stack import redis_external
from hive_contracts.errors import Refused
from hive_runtime import acl
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress

USERS = {acl.BROKER: acl.broker_rules("pw")}


def take(address: RedisAddress, owner: str = "one") -> str:
    return asyncio.run(redis_external.take(address, USERS, owner))


def test_a_good_server_gets_the_service_users(redis: RedisServer) -> None:
    assert take(redis.address).startswith("Valkey 9")
    asyncio.run(_ping(replace(redis.address, username=acl.BROKER, password="pw")))


async def _ping(address: RedisAddress) -> None:
    bus = RedisBus(address)
    await bus.ping()
    await bus.aclose()


def test_the_same_hive_may_come_again_and_another_may_not(redis: RedisServer) -> None:
    take(redis.address)
    take(redis.address)
    with pytest.raises(Refused, match=r"carries another hive \(one\)"):
        take(redis.address, "two")


def test_a_wrong_password_is_named_as_such(redis: RedisServer) -> None:
    with pytest.raises(Refused, match="refuses the password of user admin"):
        take(replace(redis.address, password="wrong"))


def test_no_password_where_one_is_needed_is_named_as_such(redis: RedisServer) -> None:
    with pytest.raises(Refused, match="refuses the password of the default user"):
        take(replace(redis.address, username=None, password=None))


@pytest.mark.parametrize("rules", [("+info", "+ping"), ("~*", "+info", "+set", "+get", "+hello", "+client")])
def test_a_user_with_too_few_rights_is_told_which(rules: tuple[str, ...], redis: RedisServer) -> None:
    asyncio.run(_set_user(redis.address, ("on", ">pw", *rules)))
    with pytest.raises(Refused, match="this user may not do"):
        take(replace(redis.address, username="weak", password="pw"))


async def _set_user(address: RedisAddress, rules: tuple[str, ...]) -> None:
    admin = RedisAdmin(address)
    await admin.set_user("weak", rules)
    await admin.aclose()


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Refused, match=r"no Redis answers at redis://127\.0\.0\.1:1"):
        take(RedisAddress("redis://127.0.0.1:1"))


class OldServer(socketserver.StreamRequestHandler):
    """Speaks just enough to say that it is Redis 6.2."""

    greeting = b"%1\r\n+server\r\n+redis\r\n"

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
            info = b"redis_version:6.2.14\r\nrun_id:x\r\n"
            if words[0].upper() == b"HELLO":
                self.wfile.write(self.greeting)
            elif words[0].upper() == b"INFO":
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(info), info))
            else:
                self.wfile.write(b"+OK\r\n")


class VeryOldServer(OldServer):
    greeting = b"-ERR unknown command `HELLO`\r\n"


@pytest.fixture(params=[OldServer, VeryOldServer])
def old_server(request: pytest.FixtureRequest) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), request.param) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_old_server_is_refused_by_its_version(old_server: str) -> None:
    with pytest.raises(Refused, match=r"(Redis 6\.2\.14|the server) at .* is too old"):
        take(RedisAddress(old_server))


@pytest.mark.parametrize(
    ("url", "bare", "username", "password"),
    [
        ("redis://h:1/0", "redis://h:1/0", None, None),
        ("redis://:p%40w@h:1/0", "redis://h:1/0", None, "p@w"),
        ("rediss://me:pw@h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none", "me", "pw"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2", None, None),
    ],
)
def test_user_and_password_are_taken_out_of_the_url(
    url: str, bare: str, username: str | None, password: str | None
) -> None:
    found = redis_external.parse(url)
    assert (found.url, found.username, found.password) == (bare, username, password)


def test_sentinels_are_taken_with_user_and_password_of_the_servers() -> None:
    found = redis_external.parse("sentinel://me:p%40ss@one:26379,two:26380/hive")
    assert (found.url, found.username, found.password) == ("sentinel://one:26379,two:26380/hive", "me", "p@ss")


@pytest.mark.parametrize("url", ["sentinel://one:26379", "sentinel://one:port/hive", "sentinel:///hive"])
def test_sentinels_without_a_service_or_a_place_are_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(UsageProblem, match="names no Sentinels"):
        redis_external.parse(url)
