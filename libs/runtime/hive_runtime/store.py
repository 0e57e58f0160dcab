"""The base of every sqlite store: one writer, WAL, numbered migrations; readers open read-only.

A store is copied before its schema is changed. One that is broken is set aside and a new one takes its place, with a
line in the log; it is never silent, and what streams still hold is for the owner to bring back. So is a store that was
taken away while it was open.
"""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog

from hive_runtime.errors import StoreNewer, StoreUnavailable
from hive_runtime.store_backup import keep_as_it_was
from hive_runtime.store_broken import (
    Fingerprint,
    fault_of,
    fingerprint,
    identity,
    is_broken,
    one_at_a_time,
    set_aside,
    set_strays_aside,
)
from hive_runtime.store_lock import begin
from hive_runtime.store_log import LAST_RESORT_PAGES, LogCopier

BUSY_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 0.1
"""A reader waits for hardly anything in WAL mode, and an event loop may be what waits."""

NO_ROW: Final = (ValueError, IndexError, OverflowError)
"""What a reader fails with on a row that is none of its type: a state unknown to it, half a JSON, no such column."""

REASON_LENGTH: Final = 200

log = structlog.get_logger()


class StoreBroken(Exception):
    """What was found wrong with the file of this connection; stays within this module."""

    def __init__(self, reason: str, db: sqlite3.Connection) -> None:
        super().__init__(reason)
        self.db = db


class Store:
    """One writer's connection, and one for its reads. `migrations[n]` brings the schema from version n to n + 1.

    Both may be used from any thread, by one at a time. A write may block for `BUSY_TIMEOUT_S`, a read hardly: it waits
    for no write. `patient`: a store that cannot be opened now is opened when it is used, however often that takes.

    `generation` counts the files that this object has used: when it grows, what was read from the store before may be
    gone, and the owner reads it again from where it comes. One that rests counts
    as another file from then on. `replaced` is the last broken store that this object set
    aside, as it is kept. Every method may raise `StoreUnavailable`; whatever failed with it may be done again.
    """

    def __init__(self, path: Path, migrations: tuple[str, ...], *, patient: bool = False) -> None:
        self._path = path
        self._migrations = migrations
        self._seen: tuple[int, int] | None = None
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._log = LogCopier(path)
        self._closed = False
        self._rested: Fingerprint | None = None
        self.generation = 0
        self.replaced: Path | None = None
        self._db: sqlite3.Connection | None = None
        try:
            self._db = self._open()
        except StoreNewer:
            raise
        except StoreUnavailable as error:
            if not patient:
                raise
            log.warning("store cannot be opened yet", store=str(path), reason=str(error))

    @property
    def path(self) -> Path:
        return self._path

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Not reentrant."""
        with self._writing:
            db = self._followed()
            try:
                begin(db, within_s=BUSY_TIMEOUT_S)
                try:
                    yield db
                    db.execute("COMMIT")
                    self._log.committed()
                except BaseException:
                    if db.in_transaction:  # sqlite may have rolled back by itself
                        db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                self._replace_if_broken(error)
                raise StoreUnavailable(f"cannot write the store {self._path}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For reads of its owner, who also finds out here that it is broken. Sees what is committed."""
        with self._reading:
            try:
                yield self._read_connection()
            except NO_ROW as error:
                raise _no_row(self._path, error) from error
            except sqlite3.Error as error:
                self._drop_reader()
                with self._writing:
                    self._replace_if_broken(error)
                raise StoreUnavailable(f"cannot read the store {self._path}: {error}") from error

    @property
    def connection(self) -> sqlite3.Connection:
        """The writer's, for what is neither a write nor a read of rows; only while nobody else uses it."""
        with self._writing:
            return self._followed()

    def close(self) -> None:
        """Waits for whoever uses it; whoever comes later finds it closed."""
        self._closed = True
        with self._reading:
            self._drop_reader()
        with self._writing:
            self._log.wait()
            self._close()

    def rest(self) -> None:
        """Close its files until it is used again. Waits for whoever uses it."""
        with self._reading:
            self._drop_reader()
        with self._writing:
            if self._db is None:
                return
            self._log.wait()
            self._close()
            self.generation += 1
            with suppress(OSError):
                self._rested = fingerprint(self._path)

    def _read_connection(self) -> sqlite3.Connection:
        if self._reader is not None and self._is_current():
            return self._reader
        self._drop_reader()
        if self._db is None or not self._is_current():
            if not self._writing.acquire(timeout=READ_TIMEOUT_S):
                raise StoreUnavailable(f"the store {self._path} is being opened")
            try:
                self._followed()
            finally:
                self._writing.release()
        self._reader = _open_read_only(self._path, timeout_s=READ_TIMEOUT_S)
        if self._reader is None:
            raise StoreUnavailable(f"the store {self._path} is gone")
        return self._reader

    def _drop_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None

    def _is_current(self) -> bool:
        """Whether the file in this store's place is the one that is open."""
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} is closed")
        try:
            return self._seen is not None and identity(self._path) == self._seen
        except OSError as error:
            raise StoreUnavailable(f"cannot use the store {self._path}: {error}") from error

    def _followed(self) -> sqlite3.Connection:
        """The connection to the file that is in this store's place now."""
        if self._is_current() and self._db is not None:
            return self._db
        if self._db is None:
            self._db = self._open()
            return self._db
        log.warning("store is another file now, opened again", store=str(self._path))
        self._reopen()
        raise StoreUnavailable(f"the store {self._path} was taken away and has been opened again")

    def _replace_if_broken(self, error: sqlite3.Error) -> None:
        if is_broken(error) and self._db is not None:
            self._put_aside(StoreBroken(str(error), self._db))
            self._reopen()

    def _reopen(self) -> None:
        self._close()
        self._seen = None  # should opening fail, the next use tries again
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        """The store, or a new one in the place of a broken one."""
        try:
            return self._connect()
        except StoreBroken as broken:
            self._put_aside(broken)
        try:
            return self._connect()
        except StoreBroken as broken:
            broken.db.close()
            raise StoreUnavailable(f"cannot use the store {self._path}, not even a new one: {broken}") from broken

    def _put_aside(self, broken: StoreBroken) -> None:
        """Renamed before it is closed: sqlite leaves the log of a store alone only once the store has moved."""
        try:
            kept = set_aside(self._path, self._seen)
        except OSError as error:
            raise StoreUnavailable(f"cannot set the broken store {self._path} aside: {error}") from error
        finally:
            broken.db.close()
        if kept:
            self.replaced = kept
            log.error("store was broken, set aside", store=str(self._path), kept_as=kept.name, reason=str(broken))

    def _connect(self) -> sqlite3.Connection:
        """Raises `StoreBroken` with the connection open, and `StoreUnavailable`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if strays := set_strays_aside(self._path):
                log.error("log without its store was set aside", store=str(self._path), kept_as=strays.name)
            db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._seen = identity(self._path)
            as_it_was = self._rested is not None and fingerprint(self._path) == self._rested
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot use the store {self._path}: {error}") from error
        try:
            self._prepare(db, checked=as_it_was)
        except StoreBroken:
            raise
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and is_broken(error):
                raise StoreBroken(str(error), db) from error
            db.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StoreUnavailable(f"cannot use the store {self._path}: {error}") from error
            raise
        if self._rested is None:
            self.generation += 1
        self._rested = None
        if self.replaced:
            with suppress(OSError):
                self._path.chmod(stat.S_IMODE(self.replaced.stat().st_mode))
        return db

    def _prepare(self, db: sqlite3.Connection, *, checked: bool) -> None:
        db.row_factory = sqlite3.Row
        db.execute("BEGIN")  # one moment of a store that another process may be making
        version = self._version(db)
        if not checked and (fault := fault_of(db, self._migrations, version)):
            raise StoreBroken(fault, db)
        db.execute("COMMIT")
        db.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        db.execute("PRAGMA foreign_keys=ON")
        db.execute(f"PRAGMA wal_autocheckpoint={LAST_RESORT_PAGES}").fetchall()
        if self._version(db) < len(self._migrations):
            with one_at_a_time(self._path.parent):
                self._migrate(db)
        db.execute("PRAGMA busy_timeout=0").fetchall()  # from here on `begin` waits

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = self._version(db)
        if 0 < version < len(self._migrations):
            keep_as_it_was(db, self._path, version)
        for number, script in enumerate(self._migrations[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")

    def _version(self, db: sqlite3.Connection) -> int:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(self._migrations):
            raise StoreNewer(
                f"the store {self._path} was written by a newer hyperhive (schema {version}, this one knows "
                f"{len(self._migrations)}); upgrade hyperhive"
            )
        return int(version)


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A reader's connection for the length of the block; None while the store does not exist yet, or is being made."""
    connection = _open_read_only(path)
    if connection is None:
        yield None
        return
    try:
        yield connection
    except NO_ROW as error:
        raise _no_row(path, error) from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot read the store {path}: {error}") from error
    finally:
        connection.close()


def _no_row(path: Path, error: Exception) -> StoreUnavailable:
    reason = " ".join(str(error).split())[:REASON_LENGTH]
    return StoreUnavailable(f"the store {path} holds what cannot be read: {reason}")


def _open_read_only(path: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection | None:
    try:
        if not path.exists():
            return None
        address = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=timeout_s, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"cannot read the store {path}: {error}") from error
    connection.row_factory = sqlite3.Row
    with suppress(sqlite3.Error):  # a broken one fails in the reader's block, and is closed there
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.close()
            return None
    return connection
