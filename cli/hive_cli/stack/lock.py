"""One hive per data directory: an flock on `hive.lock`, which also holds the pid."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from hive_cli.paths import DataDir
from hive_contracts.errors import Refused

RETRY_FOR_S: Final = 0.3
"""`running_pid` holds a shared lock for an instant; that must not look like a hive."""


@contextmanager
def held(data: DataDir) -> Iterator[None]:
    """Hold the lock for the length of the block. The kernel lets go of it however the process ends."""
    with data.lock.open("a+") as file:
        if not _try_lock(file):
            raise Refused(
                f"the data directory {data.root} is in use by another hive (pid {_pid(file)}); stop that with "
                f"`hive down`, or name another with --data-dir"
            )
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.seek(0)
        file.truncate()


def running_pid(data: DataDir) -> int | None:
    """The pid of the hive that holds the lock; None when none does."""
    try:
        with data.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid(file)
    except OSError:
        return None
    return None


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


def _pid(file: IO[str]) -> int:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else 0
