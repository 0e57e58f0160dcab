"""The base of every sqlite store: one writer, WAL, numbered migrations; readers open read-only."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hive_runtime.errors import StoreUnavailable

BUSY_TIMEOUT_S: Final = 5.0


class Store:
    """A writer's connection. `migrations[n]` brings the schema from version n to n + 1 (`PRAGMA user_version`)."""

    def __init__(self, path: Path, migrations: tuple[str, ...]) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot use the store {path}: {error}") from error
        try:
            self._prepare(migrations)
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(f"cannot use the store {path}: {error}") from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Not reentrant. Raises `StoreUnavailable`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # sqlite may have rolled back by itself
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot write the store {self._path}: {error}") from error

    @property
    def connection(self) -> sqlite3.Connection:
        """For reads."""
        return self._db

    def close(self) -> None:
        self._db.close()

    def _prepare(self, migrations: tuple[str, ...]) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._migrate(migrations)

    def _migrate(self, migrations: tuple[str, ...]) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise StoreUnavailable(
                f"the store {self._path} was written by a newer hyperhive (schema {version}, this one knows "
                f"{len(migrations)}); upgrade hyperhive"
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A reader's connection for the length of the block; None while the store does not exist yet."""
    connection = _open_read_only(path)
    if connection is None:
        yield None
        return
    try:
        yield connection
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot read the store {path}: {error}") from error
    finally:
        connection.close()


def _open_read_only(path: Path) -> sqlite3.Connection | None:
    try:
        if not path.exists():
            return None
        address = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"cannot read the store {path}: {error}") from error
    connection.row_factory = sqlite3.Row
    return connection
