"""One real server for all the tests of a process, as good as new for each: starting one takes longer than most tests.

What a test may change is put back between two: connections, users, settings, keys, functions. A server that the test
stopped or started itself, or that does not answer, is thrown away and the next test gets another.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redis import Redis, exceptions
from tests.support.redis_server import RedisServer, new_server

TIMEOUT_S: Final = 5


@dataclass(slots=True)
class _State:
    """A server at its start, and an administrator's connection to it."""

    admin: Any
    users: str
    settings: dict[bytes, bytes]
    functions: bytes

    @classmethod
    def of(cls, server: RedisServer) -> "_State":
        address = server.address
        admin: Any = Redis.from_url(
            address.url, username=address.username, password=address.password, socket_timeout=TIMEOUT_S
        )
        return cls(admin, server.users.read_text(), admin.config_get("*"), admin.function_dump())

    def restore(self, server: RedisServer) -> None:
        admin = self.admin
        admin.execute_command("CLIENT", "KILL", "SKIPME", "yes")
        server.users.write_text(self.users)
        admin.acl_load()
        changed = dict(self.settings.items() - admin.config_get("*").items())
        if changed:
            admin.config_set(*(part for setting in changed.items() for part in setting))
        admin.flushall()
        admin.function_restore(self.functions, policy="FLUSH")
        admin.script_flush()
        admin.config_resetstat()
        admin.slowlog_reset()
        admin.acl_log_reset()


@dataclass(slots=True)
class SharedRedis:
    """`lend` gives the server to one test at a time; `close` ends it."""

    _server: RedisServer | None = None
    _state: _State | None = None
    _directories: list["tempfile.TemporaryDirectory[str]"] = field(default_factory=list)

    @contextmanager
    def lend(self) -> Iterator[RedisServer]:
        """Under an address of the test's own: what a test leaves running finds no server any more."""
        server = self._running()
        process = server.process
        with tempfile.TemporaryDirectory(prefix="hive-") as directory:
            server.door = Path(directory) / "redis.sock"
            server.door.symlink_to(server.directory / "redis.sock")
            try:
                yield server
            finally:
                if server.process is not process or not self._restored(server):
                    self.close()

    def close(self) -> None:
        if self._state:
            self._state.admin.close()
        if self._server:
            self._server.kill()
        for directory in self._directories:
            directory.cleanup()
        self._server = self._state = None
        self._directories.clear()

    def _running(self) -> RedisServer:
        if self._server is None:
            directory = tempfile.TemporaryDirectory(prefix="hive-")
            self._directories.append(directory)
            self._server = new_server(Path(directory.name))
            self._server.start()
            self._state = _State.of(self._server)
        return self._server

    def _restored(self, server: RedisServer) -> bool:
        with suppress(exceptions.RedisError, OSError):
            if self._state:
                self._state.restore(server)
                return True
        return False
