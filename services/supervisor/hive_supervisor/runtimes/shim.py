"""The process between the supervisor and a container: it outlives the supervisor and keeps the exit status.

It is a shell of one line. It starts nothing before it reads a line, which comes once its pid is on disk: so no
container can run that the next supervisor would not find. Its record names it by pid and start time.
"""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_runtime.process import has_ended, start_time

SCRIPT: Final = """
read -r _ || exit 125
"$@" </dev/null
status=$?
printf '%s' "$status" >"$0.new" && mv "$0.new" "$0"
exit "$status"
"""


@dataclass(frozen=True, slots=True)
class Shim:
    """A running shim. `depth` is how many processes stand between it and the harness."""

    pid: int
    started: str
    depth: int

    @property
    def alive(self) -> bool:
        return self._is_there and not has_ended(self.pid)

    @property
    def _is_there(self) -> bool:
        """The pid, and so its process group, is still this one's, though it may have ended."""
        return start_time(self.pid) == self.started

    def ask_to_end(self) -> None:
        """SIGTERM to the harness itself; the processes around it follow."""
        pid: int | None = self.pid
        for _ in range(self.depth + 1):
            pid = _first_child(pid) if pid else None
        _signal(pid, signal.SIGTERM)

    def kill(self) -> None:
        """End everything in it, now."""
        if self._is_there:
            _signal(-self.pid, signal.SIGKILL)


def start(folder: Path, command: Sequence[str], *, depth: int, environment: Mapping[str, str], log_file: Path) -> Shim:
    """Start `command` under a new shim, recorded in `folder`. Raises `OSError`."""
    _exit_file(folder).unlink(missing_ok=True)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(["/bin/sh", "-c", SCRIPT, str(_exit_file(folder)), *command], environment, reader, log_file)
        shim = Shim(pid, start_time(pid) or "", depth)
        record = _record_file(folder).with_suffix(".new")
        record.write_text(json.dumps({"pid": shim.pid, "started": shim.started, "depth": depth}))
        record.replace(_record_file(folder))
        os.write(writer, b"\n")
    finally:
        os.close(reader)
        os.close(writer)
    return shim


def _spawn(command: Sequence[str], environment: Mapping[str, str], stdin: int, log_file: Path) -> int:
    """A process in a session of its own; not a Popen, whose end would be the end of this supervisor."""
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        return os.posix_spawn(command[0], list(command), dict(environment), file_actions=actions, setsid=True)
    finally:
        os.close(log)


def find(folder: Path) -> Shim | None:
    """The shim recorded in `folder`, if it still runs."""
    try:
        record = json.loads(_record_file(folder).read_text())
        shim = Shim(record["pid"], record["started"], record["depth"])
    except (OSError, ValueError, KeyError):
        return None
    return shim if shim.alive else None


def exit_status(folder: Path) -> int | None:
    """How the last container of `folder` ended; None when its shim was killed."""
    try:
        return int(_exit_file(folder).read_text())
    except (OSError, ValueError):
        return None


def reap(pid: int) -> None:
    """Forget a child that ended; nothing to do for one that an earlier supervisor started."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _record_file(folder: Path) -> Path:
    return folder / "container.json"


def _exit_file(folder: Path) -> Path:
    return folder / "exit"


def _first_child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is None:
        return
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return
