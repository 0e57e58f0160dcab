"""A store's write-ahead log: copying it into the store beside the work, before it is long.

sqlite by default copies a log of 1,000 pages within the commit that finds it so long, with two syncs to disk: that one
writer waits. While a sweep fills the log, this hit every second transaction of a busy writer. So it is done without
any lock, by whoever has the time; the writer does it itself only when all of them fall far behind.

How long the log is only sqlite may look up: whoever opens and closes a store's file by himself drops all the locks that
his process holds on it (fcntl(2)), and another process may then cut the index that this one has mapped.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import quote

COPY_AT_PAGES: Final = 1_000
LAST_RESORT_PAGES: Final = 64_000
"""256 MB: here the writer copies the log within its commit."""

FIRST_LOOK, LONGEST_PAUSE = 64, 4_096
"""Commits before the first copy, and at most between two."""


class CopyPace:
    """When to copy next, in commits: about when the log has grown by `pages`, as it grew before."""

    def __init__(self, pages: int, *, first: int = FIRST_LOOK) -> None:
        self._pages = pages
        self._commits = 0
        self._due = first
        self._length = 0

    def is_due(self) -> bool:
        """Counts a commit."""
        self._commits += 1
        return self._commits >= self._due

    def copied(self, length: int) -> None:
        """The log was copied when it had `length` pages; it begins anew now and then.

        Where it began anew only just now, it seems to have grown by little: the pause is doubled at most.
        """
        grown = length - self._length if length >= self._length else length
        each = max(grown, 1) / max(self._commits, 1)
        self._due = min(max(1, round(self._pages / each)), 2 * self._due, LONGEST_PAUSE)
        self._commits, self._length = 0, length


def copy_log(db: sqlite3.Connection) -> tuple[int, int]:
    """Copy what is in the log now; nobody waits for it. Pages in the log, and how many of them are in the store."""
    _, length, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(0, length), max(0, copied)


class LogCopier:
    """Of one writer: told of each commit, it copies the log now and then, in a thread that lasts as long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pace = CopyPace(COPY_AT_PAGES)
        self._thread: Thread | None = None

    def committed(self) -> None:
        if self._pace.is_due() and not (self._thread and self._thread.is_alive()):
            self._thread = Thread(target=self._copy, name="copies a log", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        if self._thread:
            self._thread.join()

    def _copy(self) -> None:
        """On a connection of its own. Never raises for the store."""
        address = f"file:{quote(str(self._path))}?mode=rw"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as db:
            self._pace.copied(copy_log(db)[0])
