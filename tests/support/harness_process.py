"""`python -m hive_harness` as a process, with its own Redis user, to be killed and started again."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.agent_rig import AGENT, PATIENCE_S
from tests.support.redis_server import RedisServer

from hive_runtime.acl import agent_user

PASSWORD = "agents-own"


class HarnessProcess:
    """Starts harnesses of one agent in turn, in one state directory."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.password_file = directory / "password"
        self.log = directory / "harness.log"
        self._redis = redis
        self.process: subprocess.Popen[bytes] | None = None
        self.state.mkdir()

    def start(self, **environment: str) -> None:
        self.password_file.write_text(PASSWORD)
        own = {
            "PATH": os.environ["PATH"],
            "HIVE_AGENT_NAME": AGENT,
            "HIVE_ENGINE": "scripted",
            "HIVE_STATE_DIR": str(self.state),
            "HIVE_RUN_DIR": str(self.directory / "run"),
            "HIVE_REDIS_URL": self._redis.address.url,
            "HIVE_REDIS_USER": agent_user(AGENT),
            "HIVE_REDIS_PASSWORD_FILE": str(self.password_file),
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "hive_harness"]
            self.process = subprocess.Popen(command, env=own | environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        """Send the signal and wait; no longer than a container waits for its harness."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(timeout=4)

    def engines(self) -> list[int]:
        """Pids of the scripted engines of this state directory."""
        return [pid for pid in _pids() if _runs_in(pid, self.state) and b"hive_harness.scripted" in _command(pid)]

    def children(self) -> list[int]:
        """Pids of everything that runs in this state directory."""
        return [pid for pid in _pids() if _runs_in(pid, self.state)]


async def gone(pids: list[int]) -> None:
    """Returns when none of them runs."""
    async with asyncio.timeout(PATIENCE_S):
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(handle, ended.set)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _runs_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == directory.resolve()
    except OSError:
        return False
