"""Deleting many rows from a store that another process writes, without making that writer wait.

sqlite has one write lock per store, and a writer who finds it taken looks each millisecond. So each step holds the
lock for a few milliseconds, is a transaction of its own (nothing is half done whenever it dies), and is followed by a
pause in which a waiting writer is sure to come first.

The write-ahead log is copied into the store without the lock, but not at each step: a log that is begun anew costs its
next writer a sync to disk under the lock.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from hive_runtime.errors import StoreUnavailable
from hive_runtime.store_log import CopyPace, copy_log

BUSY_TIMEOUT_S: Final = 2.0
"""How long a step waits for the store's writer."""

HOLD_S: Final = 0.0015
"""How long a step is to hold the write lock; the number of rows a step takes is fitted to it."""

SHORT_HOLD_S, SHORT_PAUSE_S, LONG_PAUSE_S = 0.003, 0.0035, 0.009
"""Pauses long enough for several looks of a writer, also of one that uses sqlite's own: after 1, 3 and 8 ms."""

JITTER: Final = 1.6
"""Or else a writer that looks late once may find each of its looks at a step."""

MAX_ROWS: Final = 2_000
MAX_PAGES: Final = 100
"""Pages at the file's end that are free cost nothing and let a step grow; all of the next may have to be moved."""

FIRST: Final = 40
"""Rows, or pages given back, in the first step."""

CACHE_KIB: Final = 16_384
LOG_LIMIT: Final = 8 * 1024 * 1024
"""A log that a sweep made longer than this is cut to it, bit by bit."""

CUT_BYTES: Final = 4 * 1024 * 1024
"""How much is cut at once, which a log that begins anew is under the lock: 1.5 ms, but 76 ms for 256 MB."""

CUT_TRIES: Final = 10
"""To cut a piece off a log that a writer goes on with."""

CHECKPOINT_PAGES: Final = 1_000
"""When the write-ahead log grew by so many pages, it is copied into the store."""

FIRST_STEPS: Final = 16
"""Before the first copy; from then on, as the log grows."""

CHECKPOINT_TRIES: Final = 5
"""To copy it to its end, which a writer that writes meanwhile prevents."""


T = TypeVar("T")


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
    """What came of it; `error` empty or one sentence.

    `held_s`: the longest time with the lock; `held_cpu_s`: the most that a step worked meanwhile, the rest being the
    disk's and other processes' part.
    """

    kept: int = 0
    removed: int = 0
    bytes_freed: int = 0
    held_s: float = 0.0
    held_cpu_s: float = 0.0
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
            free_s *= random.uniform(1, JITTER)
            self.pause(max(0.0, free_s - (self.clock() - released)))


def _fitted(size: int, held_s: float, limit: int) -> int:
    wanted = int(size * HOLD_S / max(held_s, 1e-6))
    return max(1, min(limit, size * 2, max(wanted, size // 4)))


def sweep_store(path: Path, *outdated: Outdated, pace: Pace, dry_run: bool) -> StoreSweep:
    """Delete what is outdated and give the file's space back; `dry_run`: only count. Never raises for the store.

    Of a store that is older than one of the tables, the others are swept.
    """
    result = StoreSweep()
    try:
        with _opened(path, dry_run=dry_run) as db:
            _prepare(db)
            parts = [part for part in outdated if _has(db, part.table)]
            if not parts:
                raise StoreUnavailable(f"no such table: {outdated[0].table}")
            if dry_run:
                _predict(db, parts, result)
            else:
                _delete(db, _Work(db, path, pace.clock), parts, pace, result)
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


def _prepare(db: sqlite3.Connection) -> None:
    for pragma in (
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
        "foreign_keys=ON",
        "synchronous=NORMAL",
        "wal_autocheckpoint=0",  # done between the steps, when no lock is held
    ):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("CREATE TEMP TABLE step (key PRIMARY KEY) WITHOUT ROWID")


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone() is not None


def _predict(db: sqlite3.Connection, parts: Sequence[Outdated], result: StoreSweep) -> None:
    for part in parts:
        for statement in part.prepare:
            db.execute(statement, part.values)
        query = f"SELECT count(*) FROM {part.table} NOT INDEXED WHERE {part.where}"  # noqa: S608 - as below
        result.removed += db.execute(query, part.values).fetchone()[0]
    rows = _rows(db, parts)
    result.kept = rows - result.removed
    result.bytes_freed = _size(db) * result.removed // rows if rows else 0


def _delete(db: sqlite3.Connection, work: "_Work", parts: Sequence[Outdated], pace: Pace, result: StoreSweep) -> None:
    size = _size(db)
    try:
        for part in parts:
            for number in pace.steps(work.deletion(part), limit=MAX_ROWS):
                result.removed += number
                work.checkpoint()
        for _ in pace.steps(work.give_back, limit=MAX_PAGES):
            work.checkpoint()
        work.checkpoint(now=True)
        for _ in pace.steps(work.cut_log, limit=1):
            pass
    finally:
        result.held_s, result.held_cpu_s = work.held_s, work.held_cpu_s
        result.kept = _rows(db, parts)
        result.bytes_freed = max(0, size - _size(db))


class _Work:
    """The steps of one sweep."""

    def __init__(self, db: sqlite3.Connection, path: Path, clock: Callable[[], float]) -> None:
        self._db = db
        self._log = path.with_name(path.name + "-wal")
        self._clock = clock
        self._pace = CopyPace(CHECKPOINT_PAGES, first=FIRST_STEPS)
        self.held_s = self.held_cpu_s = 0.0

    def deletion(self, part: Outdated) -> Step:
        """What is to go is looked up first, without the lock; the deletion asks again whether it may go."""
        for statement in part.prepare:
            self._db.execute(statement, part.values)
        table, key, where = part.table, part.key, part.where
        select = (
            f"INSERT INTO temp.step SELECT {key} FROM {table} NOT INDEXED"  # noqa: S608 - constants of the code
            f" WHERE (:after IS NULL OR {key} > :after) AND ({where}) ORDER BY {key} LIMIT :size"
        )
        delete = f"DELETE FROM {table} WHERE {key} IN (SELECT key FROM temp.step) AND ({where})"  # noqa: S608
        after: int | str | None = None

        def step(size: int) -> tuple[int, float]:
            nonlocal after
            while True:
                self._db.execute("DELETE FROM temp.step")
                self._db.execute(select, {**part.values, "after": after, "size": size})
                (last,) = self._db.execute("SELECT max(key) FROM temp.step").fetchone()
                if last is None:
                    return 0, 0.0
                after = last
                number, held_s = self._with_lock(lambda: self._db.execute(delete, part.values).rowcount)
                if number:
                    return number, held_s

        return step

    def give_back(self, size: int) -> tuple[int, float]:
        """Hand `size` free pages at the file's end back to the file system."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if not free:
            return 0, 0.0
        _, held_s = self._with_lock(lambda: self._give_back_pages(size))
        (left,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return max(0, free - left), held_s  # nothing where the store was made without auto_vacuum

    def _give_back_pages(self, number: int) -> None:
        for _ in range(number):  # `execute` ends this statement after its first page, whatever number it is given
            self._db.execute("PRAGMA incremental_vacuum(1)")

    def checkpoint(self, *, now: bool = False) -> None:
        """Told of each step, it copies the log when that grew by `CHECKPOINT_PAGES`; nobody waits for it.

        It starts anew when it was copied to its end and nobody wrote meanwhile; until then it grows.
        """
        self._limit_log()
        if not (self._pace.is_due() or now):
            return
        length = before = -1
        for _ in range(CHECKPOINT_TRIES):
            length, copied = copy_log(self._db)
            if length == before:  # nobody wrote since it was copied: it begins anew
                break
            before = copied
        self._pace.copied(length)

    def cut_log(self, _size: int) -> tuple[int, float]:
        """Cut one piece off what this sweep and those before it made the log; none if a writer never lets it end."""
        before = self._log_bytes()
        if before <= LOG_LIMIT:
            return 0, 0.0
        held_s = 0.0
        for _ in range(CUT_TRIES):
            self.checkpoint(now=True)
            _, held_s = self._with_lock(self._write_nothing)
            if self._log_bytes() < before:
                return 1, held_s
        return 0, held_s

    def _write_nothing(self) -> None:
        """What begins the log anew is the first write after all of it was copied."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute(f"PRAGMA user_version={version}")

    def _limit_log(self) -> None:
        limit = max(LOG_LIMIT, self._log_bytes() - CUT_BYTES)
        self._db.execute(f"PRAGMA journal_size_limit={limit}").fetchall()

    def _log_bytes(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _with_lock(self, work: Callable[[], T]) -> tuple[T, float]:
        """Returns for how long the lock was held as well; the wait for it is no part of that."""
        self._db.execute("BEGIN IMMEDIATE")
        started, cpu_started = self._clock(), time.thread_time()
        try:
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # sqlite may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        held_s = self._clock() - started
        self.held_s = max(self.held_s, held_s)
        self.held_cpu_s = max(self.held_cpu_s, time.thread_time() - cpu_started)
        return result, held_s


def _rows(db: sqlite3.Connection, parts: Sequence[Outdated]) -> int:
    counts = (f"SELECT count(*) FROM {part.table}" for part in parts)  # noqa: S608 - constants of the code
    return sum(int(db.execute(count).fetchone()[0]) for count in counts)


def _size(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)
