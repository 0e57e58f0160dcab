"""Taking a store's write lock: sqlite itself, finding it taken, sleeps 1, 2, 5 … 100 ms between two looks.

Beside a sweep, which takes the lock for a millisecond or two many times over, a writer so unlucky as to look at each
step waited up to 100 ms for a lock that was free most of that time. Looked for each millisecond, it is found at the
first pause.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import Final

from hive_runtime.store_broken import PRIMARY_CODE

LOOK_S: Final = 0.001


def begin(db: sqlite3.Connection, *, within_s: float, pause: Callable[[float], object] = time.sleep) -> None:
    """`BEGIN IMMEDIATE`, on a connection whose own busy timeout is 0. Raises sqlite's error once that time is over."""
    last_look = time.monotonic() + within_s
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_taken(error) or time.monotonic() >= last_look:
                raise
            pause(LOOK_S)
        else:
            return


def _is_taken(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & PRIMARY_CODE == sqlite3.SQLITE_BUSY
