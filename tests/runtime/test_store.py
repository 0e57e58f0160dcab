"""The base of every store: migrations, transactions, readers that change nothing."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.processes import open_files

from hive_runtime.errors import StoreUnavailable
from hive_runtime.store import Store, read_only
from hive_runtime.store_lock import LOOK_S, begin

FIRST = "CREATE TABLE birds (name TEXT NOT NULL UNIQUE) STRICT"
SECOND = "ALTER TABLE birds ADD COLUMN song TEXT NOT NULL DEFAULT 'tweet'"


def _names(path: Path) -> list[str]:
    with read_only(path) as db:
        return [name for (name,) in db.execute("SELECT name FROM birds ORDER BY name")] if db else []


def _add(store: Store, *names: str) -> None:
    with store.transaction() as db:
        db.executemany("INSERT INTO birds (name) VALUES (?)", [(name,) for name in names])


def test_a_new_store_gets_every_migration_and_an_old_one_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on" / "the" / "way.sqlite"
    with closing(Store(path, (FIRST,))) as store:
        _add(store, "wren")
    with closing(Store(path, (FIRST, SECOND))) as store:
        assert [tuple(row) for row in store.connection.execute("SELECT * FROM birds")] == [("wren", "tweet")]
    with closing(Store(path, (FIRST, SECOND))):
        assert _names(path) == ["wren"]


def test_a_store_from_a_newer_version_is_left_alone_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    Store(path, (FIRST, SECOND)).close()
    with pytest.raises(StoreUnavailable, match=r"newer hyperhive \(schema 2, this one knows 1\); upgrade"):
        Store(path, (FIRST,))


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    Store(path, (FIRST,)).close()
    with pytest.raises(StoreUnavailable, match="cannot use the store"):
        Store(path, (FIRST, "CREATE TABLE eggs (n INTEGER) STRICT; CREATE TABLE birds (n INTEGER) STRICT"))
    with closing(Store(path, (FIRST, SECOND))) as store:
        tables = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables == {"birds"}


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(Store(path, (FIRST,))) as store:
        with pytest.raises(KeyError), store.transaction() as db:
            db.execute("INSERT INTO birds VALUES ('wren')")
            raise KeyError
        with pytest.raises(StoreUnavailable, match="cannot write the store"):
            _add(store, "owl", "owl")
        _add(store, "lark")
        assert _names(path) == ["lark"]


def test_a_commit_that_fails_does_not_block_the_next_transaction(tmp_path: Path) -> None:
    schema = "CREATE TABLE nests (bird TEXT REFERENCES birds (name) DEFERRABLE INITIALLY DEFERRED) STRICT"
    with closing(Store(tmp_path / "s.sqlite", (FIRST, schema))) as store:
        with pytest.raises(StoreUnavailable, match="FOREIGN KEY"), store.transaction() as db:
            db.execute("INSERT INTO nests VALUES ('nobody')")
        _add(store, "wren")
        assert _names(tmp_path / "s.sqlite") == ["wren"]


def test_a_reader_makes_no_file_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with read_only(path) as db:
        assert db is None
    assert list(tmp_path.iterdir()) == []
    Store(path, (FIRST,)).close()
    with pytest.raises(StoreUnavailable, match="readonly"), read_only(path) as db:
        assert db is not None
        db.execute("INSERT INTO birds VALUES ('wren')")


def test_a_reader_sees_what_was_committed_while_the_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(Store(path, (FIRST,))) as store:
        _add(store, "wren")
        with store.transaction() as db:
            db.execute("INSERT INTO birds VALUES ('owl')")
            assert _names(path) == ["wren"]
        assert _names(path) == ["owl", "wren"]


@pytest.mark.parametrize("folder", ["50% off", "what?mode=memory", "a#b", "with blank"])
def test_any_directory_name_will_do(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "s.sqlite"
    with closing(Store(path, (FIRST,))) as store:
        _add(store, "wren")
        assert _names(path) == ["wren"]


def test_a_broken_file_is_a_sentence_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"this is no database, and long enough to be read as one" * 99)
    with pytest.raises(StoreUnavailable, match="cannot read the store"):
        _names(path)


def test_a_store_that_is_being_made_is_none_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.touch()
    with read_only(path) as db:
        assert db is None


def test_a_directory_in_its_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot use the store"):
        Store(tmp_path / "s.sqlite", (FIRST,))
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot use the store"):
        Store(tmp_path / "file" / "s.sqlite", (FIRST,))


def test_a_store_that_is_locked_for_good_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hive_runtime.store.BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "s.sqlite"
    with closing(Store(path, (FIRST,))) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            _add(store, "wren")
        other.execute("ROLLBACK")
        _add(store, "wren")


def test_a_writer_who_finds_the_lock_taken_looks_again_each_millisecond(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    Store(path, (FIRST,)).close()
    pauses: list[float] = []
    with closing(_unhurried(path)) as holder, closing(_unhurried(path)) as writer:
        holder.execute("BEGIN IMMEDIATE")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 12:  # sqlite itself would have slept 403 ms by then
                holder.execute("ROLLBACK")

        begin(writer, within_s=60, pause=pause)
        assert writer.in_transaction
    assert pauses == [LOOK_S] * 12


def _unhurried(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None)


def test_a_store_at_rest_has_no_file_open_and_is_opened_again_when_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(Store(path, (FIRST,))) as store:
        for name in ("wren", "owl"):
            _add(store, name)
            with store.reading() as db:
                assert db.execute("SELECT max(rowid) FROM birds").fetchone()[0]
            assert open_files(path)
            store.rest()
            store.rest()
            assert open_files(path) == []
        assert _names(path) == ["owl", "wren"]
        assert store.generation == 3  # whoever read from it asks what it holds now
    with pytest.raises(StoreUnavailable, match="closed"):
        _add(store, "tit")


def test_threads_that_use_a_store_while_it_is_sent_to_rest_all_succeed(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "s.sqlite", (FIRST,))) as store, ThreadPoolExecutor(4) as threads:
        added = [threads.submit(_add, store, str(number)) for number in range(60)]
        for _ in range(20):
            store.rest()
        for done in added:
            done.result()
    assert len(_names(tmp_path / "s.sqlite")) == 60
