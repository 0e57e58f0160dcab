"""The hive under test: `hive up` as its user starts it, in a temporary data directory, and its processes by name."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hive_cli.client import HiveClient, find_hive
from hive_cli.paths import DataDir
from hive_cli.stack import redis_embedded
from hive_contracts.errors import HiveError
from hive_runtime import acl
from hive_runtime.process import die_with_parent, has_ended, start_time
from hive_runtime.redis_url import RedisAddress

READY_S: Final = 60.0
STOP_S: Final = 15.0
API_TIMEOUT_S: Final = 15.0
"""Longer than the dashboard waits for the broker."""

SERVICES: Final = ("broker", "dashboard", "supervisor", "redis")
HARNESS: Final = "hive_harness"
ENGINE: Final = "hive_harness.scripted"


class StageFailed(HiveError):
    code = "chaos_stage"


@dataclass(slots=True)
class Stage:
    """A running hive. `pid_of` and `pid_in` look anew each time: processes come and go here."""

    data: DataDir
    process: subprocess.Popen[bytes]

    def api(self) -> HiveClient:
        found = find_hive(self.data)
        return HiveClient(found.address, self.data.api_token.read_text().strip(), timeout_s=API_TIMEOUT_S)

    def redis(self) -> RedisAddress:
        """As the supervisor, who may do everything."""
        password = (self.data.secrets / f"redis-{acl.SUPERVISOR}").read_text().strip()
        url = redis_embedded.url(redis_embedded.socket_path(self.data, os.environ))
        return RedisAddress(url, acl.SUPERVISOR, password, client_name="hive-chaos")

    def pid_of(self, service: str) -> int | None:
        """A process that `hive up` started, while it runs."""
        found = _json(self.data.processes).get(service)
        return int(found[0]) if found and not has_ended(int(found[0])) else None

    def processes(self) -> set[int]:
        """Everything that belongs to it. Containers outlive their supervisor, so they are looked up on their own."""
        found = descendants(self.process.pid) if self.process.poll() is None else set()
        for folder in (self.data.root / "agents").glob("*/"):
            found |= self._container(folder.name)
        return found

    def pid_in(self, agent: str, module: str) -> int | None:
        """The process in an agent's container that runs this module, while it runs."""
        for pid in sorted(self._container(agent)):
            words = _words(pid)
            if module in words and not words[0].endswith(("sh", "bwrap")) and not has_ended(pid):
                return pid
        return None

    def _container(self, agent: str) -> set[int]:
        """Its processes; a pid alone may have been given to another process since."""
        record = _json(self.data.root / "agents" / agent / "container.json")
        pid = int(record.get("pid", 0))
        return descendants(pid) if pid and start_time(pid) == record.get("started") else set()


@asynccontextmanager
async def stage(settings: Mapping[str, Mapping[str, Any]], *, keep: list[Path]) -> AsyncIterator[Stage]:
    """A hive that is ready; afterwards it is down and its directory is gone, unless `keep` has taken it up,
    as it does when there is an error."""
    folder = Path(tempfile.mkdtemp(prefix="hive-chaos-"))
    try:
        data = DataDir(folder / "data")
        data.root.mkdir()
        data.settings.write_text(_toml(settings))
        hive = Stage(data, _start(data, folder / "up.log"))
        try:
            await _ready(data, hive.process, folder / "up.log")
            yield hive
        finally:
            await asyncio.to_thread(_end, hive)
    except BaseException as error:
        keep.append(folder)
        error.add_note(f"the hive's directory is kept: {folder}")
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, as Ctrl-C does; SIGKILL when that takes too long. The exit status."""
    process.terminate()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def descendants(pid: int) -> set[int]:
    """`pid` and everything below it."""
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += [int(child) for child in _text(task).split()]
    return found


PATIENT: Final = {"HIVE_SUPERVISOR_RESTART_CRASHES": "1000000", "HIVE_SUPERVISOR_RESTART_TRIES": "1000000"}
"""However often it is killed, nothing is quarantined."""


def running(pids: set[int]) -> set[int]:
    """Those that have not ended."""
    return {pid for pid in pids if not has_ended(pid)}


def _start(data: DataDir, log: Path) -> subprocess.Popen[bytes]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HIVE_")} | PATIENT
    command = [sys.executable, "-m", "hive_cli", "--data-dir", str(data.root), "up", "--port", "0"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, "--engine", "scripted", "--runtime", "process"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            preexec_fn=die_with_parent(signal.SIGTERM),
            start_new_session=True,
        )


async def _ready(data: DataDir, process: subprocess.Popen[bytes], log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while process.poll() is None and _json(data.hive_json).get("pid") != process.pid:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    if _json(data.hive_json).get("pid") != process.pid:
        raise StageFailed(f"the hive under test does not start: {_text(log).strip()[-500:]}")


def _end(hive: Stage) -> None:
    """Whatever happened: nothing of it is left."""
    started = hive.processes()
    if hive.process.poll() is None:
        stop(hive.process)
    for pid in running(started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _toml(settings: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, table in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _json(path: Path) -> dict[str, Any]:
    """Empty while it is not there."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _words(pid: int) -> list[str]:
    return _text(Path(f"/proc/{pid}/cmdline")).split("\0")
