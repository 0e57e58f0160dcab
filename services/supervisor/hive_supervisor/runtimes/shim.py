"""The process between the supervisor and a container: it outlives the supervisor and keeps the exit status.

It is a shell of one line. It starts nothing before it reads a line, which comes once its pid is on disk: so no
container can run that the next supervisor would not find. Its record names it by pid and start time.
"""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_runtime.process import has_ended, start_time
from hive_supervisor.runtimes import control_groups
from hive_supervisor.runtimes.launch import Launch
from hive_supervisor.runtimes.process_tree import first_child

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

    def program(self) -> int | None:
        """The pid of the harness itself; None before it is there, or after."""
        pid: int | None = self.pid
        for _ in range(self.depth + 1):
            pid = first_child(pid) if pid else None
        return pid

    def signal(self, number: int) -> None:
        """To the harness itself; when that ends, the processes around it follow."""
        _signal(self.program(), number)

    def end(self) -> None:
        """End the container now, but not the shim, which keeps its status."""
        _signal(first_child(self.pid) if self._is_there else None, signal.SIGKILL)

    def kill(self) -> None:
        """End everything in it, now."""
        if self._is_there:
            _signal(-self.pid, signal.SIGKILL)


def start(folder: Path, launch: Launch) -> Shim:
    """Start what `launch` says under a new shim, recorded in `folder`. Raises `OSError`; then nothing runs."""
    forget(folder)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = None
    try:
        command = ["/bin/sh", "-c", SCRIPT, str(_exit_file(folder)), *launch.command]
        pid = _spawn(command, launch.environment, reader, launch.log_file)
        shim = Shim(pid, start_time(pid) or "", launch.depth)
        record = _record_file(folder).with_suffix(".new")
        facts = {"pid": shim.pid, "started": shim.started, "depth": shim.depth, "since": time.time()}
        record.write_text(json.dumps(facts))
        record.replace(_record_file(folder))
        if launch.group:
            control_groups.make(launch.group, launch.limits)
            control_groups.enter(launch.group, pid)
        os.write(writer, b"\n")
    except OSError:
        os.close(writer)
        writer = -1
        if pid:
            os.waitpid(pid, 0)  # it reads nothing, and ends
        raise
    finally:
        os.close(reader)
        if writer >= 0:
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


def since(folder: Path) -> float | None:
    """When the last container of `folder` started, in seconds since 1970; None when none ever did."""
    try:
        return float(json.loads(_record_file(folder).read_text())["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def uptime_s(folder: Path) -> float:
    """How long the last container of `folder` ran; up to now when nobody saw its end."""
    try:
        end = _exit_file(folder).stat().st_mtime
    except OSError:
        end = time.time()
    return max(0.0, end - (since(folder) or end))


def forget(folder: Path) -> None:
    """The last container of `folder`, which runs no more, leaves no trace."""
    for path in (_record_file(folder), _exit_file(folder)):
        path.unlink(missing_ok=True)
        path.with_name(path.stem + ".new").unlink(missing_ok=True)


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


def _signal(pid: int | None, number: int) -> None:
    if pid is None:
        return
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return
