"""The process between the supervisor and a container: it outlives the supervisor and keeps the exit status.

It is a shell of one line. It starts nothing before it reads a line, which comes once its pid is on disk: so no
container can run that the next supervisor would not find. Its record names it by pid and start time.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_runtime.process import start_time

_SCRIPT: Final = """
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
        return start_time(self.pid) == self.started

    def ask_to_end(self) -> None:
        """SIGTERM to the harness itself; the processes around it follow."""
        pid: int | None = self.pid
        for _ in range(self.depth + 1):
            pid = _first_child(pid) if pid else None
        _signal(pid, signal.SIGTERM)

    def kill(self) -> None:
        """End everything in it, now."""
        if self.alive:
            _signal(-self.pid, signal.SIGKILL)


def start(folder: Path, command: Sequence[str], *, depth: int, environment: Mapping[str, str], log_file: Path) -> Shim:
    """Start `command` under a new shim, recorded in `folder`. Raises `OSError`."""
    _exit_file(folder).unlink(missing_ok=True)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, str(_exit_file(folder)), *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
            cwd="/",
        )
    shim = Shim(process.pid, start_time(process.pid) or "", depth)
    record = _record_file(folder).with_suffix(".new")
    record.write_text(json.dumps({"pid": shim.pid, "started": shim.started, "depth": depth}))
    record.replace(_record_file(folder))
    assert process.stdin  # noqa: S101 - a pipe was asked for
    process.stdin.write(b"\n")
    process.stdin.close()
    return shim


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
