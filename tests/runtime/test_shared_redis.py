"""The server that tests share is as new for each of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis, exceptions
from tests.support.redis_server import RedisServer
from tests.support.shared_redis import SharedRedis


@pytest.fixture
def shared() -> Iterator[SharedRedis]:
    found = SharedRedis()
    yield found
    found.close()


def admin_of(server: RedisServer) -> Any:
    return Redis.from_url(server.address.url, username="admin", password=server.address.password)


def test_nothing_of_a_test_is_left_for_the_next(shared: SharedRedis) -> None:
    with shared.lend() as server, admin_of(server) as admin:
        first = server.process
        functions, users, memory = admin.function_dump(), admin.acl_list(), admin.config_get("maxmemory")
        admin.set("key", "value")
        admin.function_delete("hive")
        admin.execute_command("ACL", "SETUSER", "someone", "on", "nopass", "+@all")
        admin.execute_command("ACL", "SAVE")
        admin.config_set("maxmemory", "100mb")
        left = admin_of(server)
        left.ping()
    with shared.lend() as server, admin_of(server) as admin:
        assert server.process is first
        assert (admin.function_dump(), admin.acl_list(), admin.config_get("maxmemory")) == (functions, users, memory)
        assert admin.dbsize() == 0
        assert len(admin.client_list()) == 2  # this one, and the one that put all back
        with pytest.raises(exceptions.ConnectionError):
            left.ping()
        left.close()


def test_after_a_test_that_killed_it_there_is_another(shared: SharedRedis) -> None:
    with shared.lend() as server, admin_of(server) as admin:
        admin.set("key", "value")
        server.kill()
        server.start()
        assert admin.get("key") == b"value"
    with shared.lend() as another, admin_of(another) as admin:
        assert another is not server
        assert admin.dbsize() == 0
