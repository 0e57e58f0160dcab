"""The dashboard as a process of its own, with its own Redis user."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_runtime import acl
from hive_runtime.process import die_with_parent

PASSWORD: Final = "dashboard-password"
LOG: Final = "dashboard.log"
START_S: Final = 60
LOG_LINES: Final = 15


@dataclass(slots=True)
class DashboardProcess:
    child: subprocess.Popen[bytes]
    data_dir: Path
    port: int

    @property
    def api_token(self) -> str:
        return (self.data_dir / "secrets" / "api-token").read_text().strip()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data_dir / LOG

    async def answers(self, http: httpx.AsyncClient, path: str, status: int) -> None:
        """Returns when it answers `path` with `status`. Raises `AssertionError` with the end of its log: it has ended,
        or does not within `START_S`."""

        async def answered() -> bool:
            if self.child.poll() is not None:
                raise AssertionError(f"the dashboard ended with {self.child.returncode}:\n{self._end_of_log()}")
            with suppress(httpx.TransportError):
                return (await http.get(path)).status_code == status
            return False

        try:
            await eventually(answered, within_s=START_S)
        except TimeoutError:
            raise AssertionError(f"{path} is not {status} within {START_S} s:\n{self._end_of_log()}") from None

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dashboard_process(redis: RedisServer, data_dir: Path, port: int) -> Iterator[DashboardProcess]:
    """Started; its log goes to `dashboard.log` of the data directory. Killed at the end if it still runs."""
    _allow(redis)
    secret = data_dir / "secrets" / f"redis-{acl.DASHBOARD}"
    secret.parent.mkdir(mode=0o700, exist_ok=True)
    secret.write_text(PASSWORD)
    environment = os.environ | {
        "HIVE_DATA_DIR": str(data_dir),
        "HIVE_REDIS_URL": redis.address.url,
        "HIVE_REDIS_USER": acl.DASHBOARD,
        "HIVE_REDIS_PASSWORD_FILE": str(secret),
        "HIVE_DASHBOARD_PORT": str(port),
    }
    with (data_dir / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "hive_dashboard"], env=environment, stderr=log, preexec_fn=die_with_parent()
        )
    try:
        yield DashboardProcess(child, data_dir, port)
    finally:
        child.kill()
        child.wait()


def _allow(redis: RedisServer) -> None:
    """The dashboard's own user, in the server's file of users: it is there whenever the server is."""
    users = redis.directory / "users.acl"
    rules = " ".join(acl.dashboard_rules(PASSWORD))
    users.write_text(f"{users.read_text()}user {acl.DASHBOARD} {rules}\n")
    redis.stop()
    redis.start()
