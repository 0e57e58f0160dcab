"""One hive per data directory: an flock on `hive.lock`, which also says whose it is: a pid, and what that is doing."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

from hive_cli.paths import DataDir
from hive_contracts.errors import Refused

RETRY_FOR_S: Final = 0.3
"""`running_pid` holds a shared lock for an instant; that must not look like a hive."""


HIVE: Final = "hive up"


@dataclass(frozen=True, slots=True)
class Holder:
    """`pid` is 0 when it has not said so yet. `command`: `hive up`, or what else must not run beside one."""

    pid: int
    command: str = HIVE

    @property
    def is_hive(self) -> bool:
        return self.command == HIVE


@contextmanager
def held(data: DataDir, command: str = HIVE) -> Iterator[None]:
    """Hold the lock for the length of the block. The kernel lets go of it however the process ends."""
    with data.lock.open("a+") as file:
        if not _try_lock(file):
            raise in_use(data, _holder(file))
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()} {command}\n")
        file.flush()
        yield
        file.seek(0)
        file.truncate()


def holder(data: DataDir) -> Holder | None:
    """Who holds the lock; None when nobody does."""
    try:
        with data.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
    except OSError:
        return None
    return None


def running_pid(data: DataDir) -> int | None:
    """The pid of who holds the lock; None when nobody does."""
    found = holder(data)
    return found.pid if found else None


def in_use(data: DataDir, by: Holder) -> Refused:
    """What to tell whoever wants it as well."""
    if by.is_hive:
        return Refused(
            f"the data directory {data.root} is in use by another hive (pid {by.pid}); stop that with "
            f"`hive down`, or name another with --data-dir"
        )
    return Refused(f"`{by.command}` (pid {by.pid}) is at work on the data directory {data.root}; wait until it is done")


def _try_lock(file: IO[str]) -> bool:
    deadline = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(RETRY_FOR_S / 10)


def _holder(file: IO[str]) -> Holder:
    file.seek(0)
    pid, _, command = file.read().strip().partition(" ")
    return Holder(int(pid) if pid.isdigit() else 0, command or HIVE)
