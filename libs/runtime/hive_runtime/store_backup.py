"""A copy of a store as it was, before its schema is changed: the way back to the hyperhive before.

It lies beside the store as `<name>.schema-<version>`, whole or not at all; the next change of schema replaces it.
"""

import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import structlog

from hive_runtime.errors import StoreUnavailable

MARK: Final = ".schema-"
SPARE_BYTES: Final = 16 * 1024 * 1024
"""What must be left of the disk beside the copy: a migration writes, too."""

log = structlog.get_logger()


def keep_as_it_was(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the store behind `db`, unless that is done. Raises `StoreUnavailable` when there is no room for it."""
    target = path.with_name(f"{path.name}{MARK}{version}")
    if target.exists():
        return
    _check_room(db, path)
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.close(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, stat.S_IMODE(path.stat().st_mode))
        )
        with closing(sqlite3.connect(partial)) as copy:
            db.backup(copy)
        partial.replace(target)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            partial.unlink()
        raise StoreUnavailable(f"the store {path} is not upgraded, as it cannot be copied first: {error}") from error
    log.info("store kept as it was, then upgraded", store=str(path), kept_as=target.name)
    _forget_others(path, target)


def _check_room(db: sqlite3.Connection, path: Path) -> None:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    needed, free = pages * size + SPARE_BYTES, shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreUnavailable(
            f"the store {path} is not upgraded: a copy of it comes first, which needs {needed // 1_000_000} MB, and "
            f"{free // 1_000_000} MB are free; free some disk space"
        )


def _forget_others(path: Path, kept: Path) -> None:
    for old in path.parent.glob(f"{path.name}{MARK}*"):
        if old != kept:
            with suppress(OSError):
                old.unlink()
