"""Snapshots of the sqlite stores: all of one moment, copied afterwards while their writers go on.

A read transaction sees a store as it was when it began. So all are begun together, and again until nothing was
committed meanwhile; then the copying may take its time.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from hive_contracts.errors import Refused
from hive_contracts.stores import AGENT_STORES, HIVE_STORES

SETTLE_S: Final = 2.0
POLL_S: Final = 0.02
PAGES: Final = 4096


T = TypeVar("T")


class NotAtRest(Refused):
    """Somebody went on writing."""

    code = "not_at_rest"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`path` is relative to the data directory. `version` is that of its schema."""

    path: Path
    db: sqlite3.Connection
    version: int

    def copy(self, target: Path) -> None:
        """As one file without a log. Raises `Refused`, `OSError` when there is no room for it."""
        try:
            with closing(sqlite3.connect(target)) as there:
                self.db.backup(there, pages=PAGES)
                there.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise Refused(f"the store {self.path} cannot be copied: {error}; see `hive doctor stores`") from error


def store_paths(root: Path) -> list[Path]:
    found = [root / name for name in HIVE_STORES]
    found += [path for name in AGENT_STORES for path in sorted(root.glob(f"agents/*/{name}"))]
    return [path for path in found if path.is_file() and not path.is_symlink()]


@dataclass(slots=True)
class Snapshots:
    """Made by `opened`."""

    found: list[Snapshot] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def take(self, root: Path, also: Callable[[], T]) -> T:
        """Of every store there is, at a moment at which `also` is what it returns. Raises `NotAtRest`."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            before = also()
            if self._take(root) and also() == before:
                return before
            self.close()
            time.sleep(POLL_S)
        raise NotAtRest("the hive's stores do not come to rest, as while it sweeps; try again in a minute")

    def _take(self, root: Path) -> bool:
        """Whether nothing was committed between the first look and the last."""
        paths = store_paths(root)
        with ExitStack() as watching:
            watchers = {path: watching.enter_context(closing(_open(path))) for path in paths}
            seen = [_asked(path, _changes, db) for path, db in watchers.items()]
            self.found = [_asked(path, self._begin, root, path) for path in paths]
            now = [_asked(path, _changes, db) for path, db in watchers.items()]
        return seen == now and paths == store_paths(root)

    def _begin(self, root: Path, path: Path) -> Snapshot:
        db = self._stack.enter_context(closing(_open(path)))
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return Snapshot(path.relative_to(root), db, version)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def opened() -> Iterator[Snapshots]:
    """Closes what was taken at the end of the block."""
    found = Snapshots()
    try:
        yield found
    finally:
        found.close()


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA busy_timeout=2000")
    return db


def _changes(db: sqlite3.Connection) -> int:
    """Another number after each commit of somebody else."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])


def _asked(path: Path, ask: Callable[..., T], *arguments: Any) -> T:
    try:
        return ask(*arguments)
    except sqlite3.Error as error:
        raise Refused(f"the store {path} cannot be read: {error}; see `hive doctor stores`") from error
