"""The write-ahead log is copied beside the work, and stays short although no writer does it."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from hive_runtime.store import Store
from hive_runtime.store_log import COPY_AT_PAGES, FIRST_LOOK, CopyPace, LogCopier, copy_log

SCHEMA = ("CREATE TABLE birds (song BLOB NOT NULL) STRICT",)

LOCK_AS_IF_ALONE: Final = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
"""
"""What sqlite does before it cuts an index that it thinks nobody uses: https://sqlite.org/walformat.html, locks."""


def _add(store: Store, pages: int) -> None:
    with store.transaction() as db:
        db.execute("INSERT INTO birds VALUES (randomblob(:size))", {"size": pages * 4096})


def test_a_log_that_became_long_is_copied_and_the_next_write_begins_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(Store(path, SCHEMA)) as store:
        _add(store, COPY_AT_PAGES)
        copier = LogCopier(path)
        for _ in range(FIRST_LOOK):
            copier.committed()
        copier.wait()
        before, _ = copy_log(store.connection)
        _add(store, 1)
        after, _ = copy_log(store.connection)
        assert after < COPY_AT_PAGES <= before


def test_a_log_is_copied_sooner_the_faster_it_grows() -> None:
    pace = CopyPace(1_000, first=4)
    assert [pace.is_due() for _ in range(4)] == [False, False, False, True]
    pace.copied(1_000)
    assert [pace.is_due() for _ in range(4)] == [False, False, False, True]
    pace.copied(3_000)
    assert [pace.is_due() for _ in range(2)] == [False, True]
    pace.copied(0)
    assert not pace.is_due()


def test_a_log_that_began_anew_just_before_it_was_copied_is_looked_at_again_soon() -> None:
    pace = CopyPace(1_000, first=16)
    for due in (32, 64, 128):
        pace.copied(1)
        assert [pace.is_due() for _ in range(due)].index(True) == due - 1


def test_whatever_is_copied_nobody_else_finds_the_store_unlocked(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(Store(path, SCHEMA)) as store:
        for _ in range(2 * FIRST_LOOK):
            _add(store, 1)
        index = tmp_path / "s.sqlite-shm"
        alone = subprocess.run([sys.executable, "-c", LOCK_AS_IF_ALONE, str(index)], check=False, capture_output=True)
    assert b"BlockingIOError" in alone.stderr


def test_a_store_that_is_gone_is_nothing_to_copy(tmp_path: Path) -> None:
    copier = LogCopier(tmp_path / "none.sqlite")
    for _ in range(FIRST_LOOK):
        copier.committed()
    copier.wait()
    assert list(tmp_path.iterdir()) == []
