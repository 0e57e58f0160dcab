"""`hive down`: ask the running hive to stop, and wait until it has; of one that was killed, end what it left."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hive_cli.errors import NotRunning
from hive_cli.paths import DataDir
from hive_cli.stack import lock
from hive_cli.stack.leftovers import ProcessBook
from hive_cli.stack.managed import STOPS, manager_of
from hive_cli.stack.tool import run_tool
from hive_contracts.errors import Refused, TimedOut

STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.05
REMAINS: Final = "hive_supervisor.remains"


@dataclass(frozen=True, slots=True)
class Stopped:
    """`pid`: of the hive that was asked to stop; None for one that was killed before. `processes` and `agents`: what a
    killed one left, and is ended."""

    pid: int | None
    processes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


def stop_running(data: DataDir, report: Callable[[str], None]) -> Stopped:
    """Raises `NotRunning`, `Refused`, `TimedOut`."""
    holder = lock.holder(data)
    if holder and not holder.is_hive:
        raise lock.in_use(data, holder)
    pid = holder.pid if holder else None
    if pid is None and (manager := manager_of(data)):
        how = f"with `{STOPS[manager]}`" if manager in STOPS else "there"
        raise Refused(f"{manager} started the services of {data.root}; stop them {how}")
    if pid is None:
        return _end_remains(data, report)
    _stop(data, pid)
    if data.processes.exists():  # it was killed meanwhile
        return _end_remains(data, report, pid)
    return Stopped(pid)


def _stop(data: DataDir, pid: int) -> None:
    try:
        if pid:
            os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise Refused(f"the hive (pid {pid}) belongs to another user; stop it as that user") from error
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while lock.running_pid(data) is not None:
        if time.monotonic() > deadline:
            raise TimedOut(f"the hive (pid {pid}) did not stop within {STOP_TIMEOUT_S:.0f} s; look at its terminal")
        time.sleep(POLL_S)


def _end_remains(data: DataDir, report: Callable[[str], None], pid: int | None = None) -> Stopped:
    """Its processes first: its supervisor may still be ending the containers. No hive can start meanwhile."""
    try:
        if not data.lock.exists():
            raise _not_running(data)
        with lock.held(data, "hive down"):
            processes = tuple(asyncio.run(ProcessBook(data.processes).end_leftovers(report)))
            agents = tuple(run_tool(REMAINS, data, quiet=True))
            for path in (data.processes, data.hive_json):
                path.unlink(missing_ok=True)
    except PermissionError as error:
        raise Refused(f"this user may not use {error.filename}; stop the hive as the user that started it") from error
    if not processes and not agents and pid is None:
        raise _not_running(data)
    return Stopped(pid, processes, agents)


def _not_running(data: DataDir) -> NotRunning:
    return NotRunning(f"no hive is running with the data directory {data.root}; name another's with --data-dir")
