"""Deleting many rows from a store that another process writes, without making that writer wait.

sqlite has one write lock per store, and who finds it taken looks again after 1, 3 and 8 ms. So each step holds the
lock for a few milliseconds, is a transaction of its own (one statement: nothing is half done whenever it dies), and
is followed by a pause in which a waiting writer is sure to come first.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hive_runtime.errors import StoreUnavailable

BUSY_TIMEOUT_S: Final = 2.0
"""How long a step waits for the store's writer."""

HOLD_S: Final = 0.002
"""How long a step is to hold the write lock; the number of rows a step takes is fitted to it."""

SHORT_HOLD_S, SHORT_PAUSE_S, LONG_PAUSE_S = 0.003, 0.0035, 0.009
"""After a hold under 3 ms the writer's third look finds the lock free, after a longer one its fourth does."""

MAX_ROWS: Final = 2_000
MAX_PAGES: Final = 500
FIRST: Final = 100
"""Rows, or pages given back, in the first step."""

CACHE_KIB: Final = 16_384
WAL_LIMIT: Final = 4 * 1024 * 1024
CHECKPOINT_STEPS: Final = 2
"""After so many steps the write-ahead log is copied into the store, before it is so long that the writer must."""

CHECKPOINT_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Outdated:
    """Rows of `table` for which `where` holds. `key` is its unique column; `prepare` is done first, once.

    What `prepare` makes it makes in `temp`: it must not take the store's write lock.
    """

    table: str
    key: str
    where: str
    values: Mapping[str, int]
    prepare: Sequence[str] = ()


@dataclass(slots=True)
class StoreSweep:
    """What came of it; `error` empty or one sentence."""

    kept: int = 0
    removed: int = 0
    bytes_freed: int = 0
    error: str = ""


Step = Callable[[int], tuple[int, float]]
"""Takes a size; returns how much it did, and for how many seconds it held the lock."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How steps follow each other. `pause` may raise, to end the sweep between two of them.

    What the caller of `steps` does between two of them, without the lock, counts as pause.
    """

    pause: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.perf_counter

    def steps(self, work: Step, *, limit: int) -> Iterator[int]:
        """How much each step did, until one does nothing."""
        size = min(FIRST, limit)
        while True:
            number, held_s = work(size)
            released = self.clock()
            if not number:
                return
            yield number
            size = _fitted(size, held_s, limit)
            free_s = SHORT_PAUSE_S if held_s < SHORT_HOLD_S else LONG_PAUSE_S
            self.pause(max(0.0, free_s - (self.clock() - released)))


def _fitted(size: int, held_s: float, limit: int) -> int:
    wanted = int(size * HOLD_S / max(held_s, 1e-6))
    return max(1, min(limit, size * 2, max(wanted, size // 4)))


def sweep_store(path: Path, outdated: Outdated, *, pace: Pace, dry_run: bool) -> StoreSweep:
    """Delete what is outdated and give the file's space back; `dry_run`: only count. Never raises for the store."""
    result = StoreSweep()
    try:
        with _opened(path, dry_run=dry_run) as db:
            _prepare(db, outdated)
            if dry_run:
                _predict(db, outdated, result)
            else:
                _delete(db, outdated, pace, result)
    except (sqlite3.Error, OSError, StoreUnavailable) as error:
        result.error = str(error)[:300]
    return result


@contextmanager
def _opened(path: Path, *, dry_run: bool) -> Iterator[sqlite3.Connection]:
    if path.is_symlink() or not path.is_file():
        raise StoreUnavailable("there is no such store")
    mode = "ro" if dry_run else "rw"
    address = f"file:{quote(str(path))}?mode={mode}"
    with closing(
        sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    ) as db:
        yield db


def _prepare(db: sqlite3.Connection, outdated: Outdated) -> None:
    for pragma in (
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
        "foreign_keys=ON",
        "synchronous=NORMAL",
        "wal_autocheckpoint=0",  # done between the steps, when no lock is held
        f"journal_size_limit={WAL_LIMIT}",
    ):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("CREATE TEMP TABLE step (key PRIMARY KEY) WITHOUT ROWID")
    for statement in outdated.prepare:
        db.execute(statement, outdated.values)


def _predict(db: sqlite3.Connection, outdated: Outdated, result: StoreSweep) -> None:
    query = f"SELECT count(*) FROM {outdated.table} NOT INDEXED WHERE {outdated.where}"  # noqa: S608 - as below
    (result.removed,) = db.execute(query, outdated.values).fetchone()
    rows = _rows(db, outdated)
    result.kept = rows - result.removed
    result.bytes_freed = _size(db) * result.removed // rows if rows else 0


def _delete(db: sqlite3.Connection, outdated: Outdated, pace: Pace, result: StoreSweep) -> None:
    size = _size(db)
    work = _Work(db, outdated, pace.clock)
    try:
        for number in pace.steps(work.delete, limit=MAX_ROWS):
            result.removed += number
            work.checkpoint()
        for _ in pace.steps(work.give_back, limit=MAX_PAGES):
            work.checkpoint()
        work.checkpoint(every=1)
    finally:
        result.kept = _rows(db, outdated)
        result.bytes_freed = max(0, size - _size(db))


class _Work:
    """The steps. What is to go is looked up first, without the lock; the deletion asks again whether it may go."""

    def __init__(self, db: sqlite3.Connection, outdated: Outdated, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock
        self._values = outdated.values
        table, key, where = outdated.table, outdated.key, outdated.where
        self._select = (
            f"INSERT INTO temp.step SELECT {key} FROM {table} NOT INDEXED"  # noqa: S608 - constants of the code
            f" WHERE (:after IS NULL OR {key} > :after) AND ({where}) ORDER BY {key} LIMIT :size"
        )
        self._delete = f"DELETE FROM {table} WHERE {key} IN (SELECT key FROM temp.step) AND ({where})"  # noqa: S608
        self._after: int | str | None = None
        self._unsaved = 0

    def delete(self, size: int) -> tuple[int, float]:
        while True:
            self._db.execute("DELETE FROM temp.step")
            self._db.execute(self._select, {**self._values, "after": self._after, "size": size})
            (last,) = self._db.execute("SELECT max(key) FROM temp.step").fetchone()
            if last is None:
                return 0, 0.0
            self._after = last
            started = self._clock()
            number = self._db.execute(self._delete, self._values).rowcount
            if number:
                return number, self._clock() - started

    def give_back(self, size: int) -> tuple[int, float]:
        """Hand `size` free pages at the file's end back to the file system."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if not free:
            return 0, 0.0
        started = self._clock()
        self._db.executescript(f"PRAGMA incremental_vacuum({size})")  # `execute` would end it after the first page
        held_s = self._clock() - started
        (left,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return max(0, free - left), held_s  # nothing where the store was made without auto_vacuum

    def checkpoint(self, *, every: int = CHECKPOINT_STEPS) -> None:
        """Copy the write-ahead log into the store, at each `every`th call; a passive one holds nobody up.

        A log that was copied to its end starts anew; so what the writer added meanwhile is copied too.
        """
        self._unsaved += 1
        if self._unsaved < every:
            return
        self._unsaved = 0
        for _ in range(CHECKPOINT_TRIES):
            _, pages, copied = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if copied == pages:
                return


def _rows(db: sqlite3.Connection, outdated: Outdated) -> int:
    (rows,) = db.execute(f"SELECT count(*) FROM {outdated.table}").fetchone()  # noqa: S608 - a constant of the code
    return int(rows)


def _size(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)
