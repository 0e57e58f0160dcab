"""Telling a broken store from one that is away, and setting it aside.

Broken is: no database, damaged pages, cut off, or a schema that hyperhive never made. Locked, a full disk, no rights
and a newer schema are not. A broken store is renamed with its log to `<name>.broken-<time>` and never deleted here.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

BROKEN_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
PRIMARY_CODE: Final = 0xFF
MARK: Final = ".broken-"
COMPANIONS: Final = ("-wal", "-shm")

Column = tuple[str, str]
Fingerprint = tuple[int, int, int, int]

_COLUMNS: Final = """
SELECT tables.name, columns.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table'
"""


def is_broken(error: sqlite3.Error) -> bool:
    """Whether sqlite says that the file itself is damaged."""
    code: int = getattr(error, "sqlite_errorcode", 0) or 0
    return code & PRIMARY_CODE in BROKEN_CODES


def fault_of(db: sqlite3.Connection, migrations: tuple[str, ...], version: int) -> str:
    """What is wrong with a store of this schema version, as a clause; empty when nothing is.

    Reads the whole file, 1.5 ms a megabyte. Raises `sqlite3.Error`, which may itself mean that it is broken.
    """
    if version < 0:
        return f"its schema number is {version}"
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        return " ".join(str(verdict).split())[:200]
    if version == 0:
        (things,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return "it holds tables that hyperhive did not make" if things else ""
    missing = _expected(migrations[:version]) - {(row[0], row[1]) for row in db.execute(_COLUMNS)}
    return "it lacks " + ", ".join(f"{table}.{column}" for table, column in sorted(missing)[:3]) if missing else ""


@lru_cache
def _expected(migrations: tuple[str, ...]) -> frozenset[Column]:
    with closing(sqlite3.connect(":memory:")) as db:
        for script in migrations:
            db.executescript(script)
        return frozenset((row[0], row[1]) for row in db.execute(_COLUMNS))


def identity(path: Path) -> tuple[int, int] | None:
    """Tells one file from another that took its place; None while there is none. Raises `OSError`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def fingerprint(path: Path) -> Fingerprint:
    """Differs when something was written since, unless someone hides it. Raises `OSError`."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def set_aside(path: Path, seen: tuple[int, int] | None) -> Path | None:
    """Rename the store that was `seen` to be broken, and return its new name.

    None when its place is empty or another's: a second process was first. The store goes before its log, so that
    whoever dies in between leaves a log without a store, which `set_strays_aside` finds. Raises `OSError`.
    """
    with one_at_a_time(path.parent):
        if seen is None or identity(path) != seen:
            return None
        kept = _free_name(path)
        path.rename(kept)
        _move_companions(path, kept)
    return kept


def set_strays_aside(path: Path) -> Path | None:
    """A log whose store is gone must not be taken for the log of the store that comes next. Raises `OSError`."""
    with one_at_a_time(path.parent):
        if path.exists() or not any(_companion(path, suffix).exists() for suffix in COMPANIONS):
            return None
        kept = newest_set_aside(path) or _free_name(path)
        _move_companions(path, kept)
    return kept


def newest_set_aside(path: Path) -> Path | None:
    """The last store that was set aside from this place."""
    return max(path.parent.glob(f"{path.name}{MARK}*Z"), default=None)


def broken_stores(data_dir: Path) -> list[Path]:
    """All that was set aside and is still there, the hive's own and every agent's; oldest first by place."""
    found = [*data_dir.glob(f"*.sqlite{MARK}*Z"), *data_dir.glob(f"agents/*/*.sqlite{MARK}*Z")]
    return sorted(found)


def _free_name(path: Path) -> Path:
    """Named by the time in UTC, to the microsecond."""
    return path.with_name(f"{path.name}{MARK}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _move_companions(path: Path, kept: Path) -> None:
    for suffix in COMPANIONS:
        with suppress(FileNotFoundError):
            _companion(path, suffix).rename(_companion(kept, suffix))


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Whoever makes a store in `folder`, or takes one away. Raises `OSError`. Not reentrant.

    The lock is on the folder: closing a second descriptor of a store would drop the locks that sqlite holds on it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
