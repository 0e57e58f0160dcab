"""A broken store is set aside, whatever broke it, and a new one is in its place; what is not broken stays."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hive_runtime.errors import StoreUnavailable
from hive_runtime.store import Store, read_only
from hive_runtime.store_broken import broken_stores

SCHEMA = ("CREATE TABLE birds (name TEXT NOT NULL UNIQUE) STRICT",)
MANY = [f"wren {number:06}" for number in range(5_000)]
PAGE = 4096

Damage = Callable[[Path], None]


def _add(store: Store, *names: str) -> None:
    with store.transaction() as db:
        db.executemany("INSERT INTO birds (name) VALUES (?)", [(name,) for name in names])


def _names(path: Path) -> list[str]:
    with read_only(path) as db:
        return [name for (name,) in db.execute("SELECT name FROM birds ORDER BY name")] if db else []


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE nests (n INTEGER)")


def _without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=1")
        db.execute("VACUUM")


DAMAGES: dict[str, Damage] = {
    "garbage all over": lambda path: _overwrite(path, 0, bytes(range(256)) * 4000),
    "a garbled header": lambda path: _overwrite(path, 0, b"not sqlite at all"),
    "garbled pages": lambda path: _overwrite(path, 3 * PAGE, b"\xa5" * 40 * PAGE),
    "zeroed pages": lambda path: _overwrite(path, 5 * PAGE, b"\0" * 20 * PAGE),
    "cut at a page": lambda path: _cut(path, path.stat().st_size // 2 // PAGE * PAGE),
    "cut within a page": lambda path: _cut(path, path.stat().st_size // 3 + 77),
    "cut to some bytes": lambda path: _cut(path, 60),
    "somebody else's tables": _foreign,
    "a schema number without tables": _without_tables,
    "a negative schema number": lambda path: _overwrite(path, 60, b"\xff\xff\xff\xfe"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(Store(tmp_path / "s.sqlite", SCHEMA)) as store:
        _add(store, *MANY)
    return tmp_path / "s.sqlite"


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_set_aside_when_it_is_opened(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    path.chmod(0o600)
    was = path.read_bytes()
    with closing(Store(path, SCHEMA)) as store:
        assert store.replaced
        assert [store.replaced] == broken_stores(path.parent)
        assert store.replaced.read_bytes() == was
        assert path.stat().st_mode & 0o777 == 0o600
        _add(store, "owl")
        assert _names(path) == ["owl"]


@pytest.mark.parametrize("damage", ["garbled pages", "zeroed pages", "cut at a page"])
def test_a_store_that_breaks_while_it_is_open_is_replaced_and_the_next_try_succeeds(path: Path, damage: str) -> None:
    with closing(Store(path, SCHEMA)) as store:
        DAMAGES[damage](path)
        store.connection.execute("PRAGMA shrink_memory")
        with pytest.raises(StoreUnavailable, match="cannot write the store"), store.transaction() as db:
            db.execute("UPDATE birds SET name = name || '!'")
        assert (store.generation, store.replaced) == (2, broken_stores(path.parent)[0])
        _add(store, "owl")
        assert _names(path) == ["owl"]


def test_a_store_found_broken_by_a_read_of_its_owner_is_replaced(path: Path) -> None:
    with closing(Store(path, SCHEMA)) as store:
        DAMAGES["garbled pages"](path)
        store.connection.execute("PRAGMA shrink_memory")
        with pytest.raises(StoreUnavailable, match="cannot read the store"), store.reading() as db:
            db.execute("SELECT sum(length(name)) FROM birds NOT INDEXED").fetchall()
        with store.reading() as db:
            assert db.execute("SELECT count(*) FROM birds").fetchone()[0] == 0


def test_the_log_goes_along_with_its_store(path: Path) -> None:
    script = "import sqlite3,os,sys; db=sqlite3.connect(sys.argv[1]); db.execute(\"INSERT INTO birds VALUES ('owl')\")"
    subprocess.run([sys.executable, "-c", f"{script}; db.commit(); os._exit(0)", str(path)], check=True)
    log = path.with_name("s.sqlite-wal")
    was = log.read_bytes()
    DAMAGES["a garbled header"](path)
    with closing(Store(path, SCHEMA)) as store:
        assert store.replaced
        assert store.replaced.with_name(f"{store.replaced.name}-wal").read_bytes() == was
        assert _names(path) == []


def test_a_log_whose_store_is_gone_is_no_log_of_the_next_one(path: Path) -> None:
    log = path.with_name("s.sqlite-wal")
    log.write_bytes(b"left behind")
    path.unlink()
    Store(path, SCHEMA).close()
    kept = [found for found in path.parent.iterdir() if found.name.endswith("Z-wal")]
    assert [found.read_bytes() for found in kept] == [b"left behind"]


def test_a_store_that_was_taken_away_while_open_is_made_anew_and_its_owner_hears_of_it(path: Path) -> None:
    with closing(Store(path, SCHEMA)) as store:
        path.unlink()
        with pytest.raises(StoreUnavailable, match="was taken away"):
            _add(store, "owl")
        assert store.generation == 2
        _add(store, "owl")
        assert _names(path) == ["owl"]


def test_two_writers_of_a_store_that_breaks_set_it_aside_once(path: Path) -> None:
    with closing(Store(path, SCHEMA)) as one, closing(Store(path, SCHEMA)) as other:
        DAMAGES["garbled pages"](path)
        for store in (one, other):
            with pytest.raises(StoreUnavailable), store.transaction() as db:
                db.execute("UPDATE birds SET name = name || '!'")
        _add(one, "owl")
        _add(other, "wren")
        assert len(broken_stores(path.parent)) == 1
        assert _names(path) == ["owl", "wren"]


def test_a_newer_store_is_not_broken_and_stays(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=7")
    was = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="newer hyperhive"):
        Store(path, SCHEMA)
    assert (path.read_bytes(), broken_stores(path.parent)) == (was, [])


def test_a_locked_store_is_not_broken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hive_runtime.store.BUSY_TIMEOUT_S", 0.01)
    with closing(Store(path, SCHEMA)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            _add(store, "owl")
        other.execute("ROLLBACK")
        assert (store.generation, broken_stores(path.parent)) == (1, [])


def test_a_reader_that_was_reading_goes_on_and_the_next_one_sees_the_new_store(path: Path) -> None:
    with closing(Store(path, SCHEMA)) as store, read_only(path) as db:
        assert db
        rows = db.execute("SELECT name FROM birds ORDER BY name")
        assert rows.fetchone()[0] == MANY[0]
        path.rename(path.with_name("away"))
        with pytest.raises(StoreUnavailable):
            _add(store, "owl")
        assert rows.fetchone()[0] == MANY[1]
        assert _names(path) == []


@pytest.mark.slow
def test_processes_that_open_a_broken_store_at_once_leave_one_new_one(path: Path) -> None:
    DAMAGES["a garbled header"](path)
    script = (
        "import sys; from pathlib import Path; from hive_runtime.store import Store\n"
        "sys.stdin.read(1)\n"
        "store = Store(Path(sys.argv[1]), (sys.argv[3],))\n"
        "with store.transaction() as db: db.execute('INSERT INTO birds VALUES (?)', (sys.argv[2],))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name, *SCHEMA], stdin=subprocess.PIPE)
        for name in ("crow", "owl", "wren")
    ]
    for process in started:
        assert process.stdin
        process.stdin.write(b"x")
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(broken_stores(path.parent)) == 1
    assert _names(path) == ["crow", "owl", "wren"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_store_that_is_damaged_while_it_rests_is_set_aside_when_it_is_used(path: Path, damage: str) -> None:
    with closing(Store(path, SCHEMA)) as store:
        store.rest()
        generation = store.generation
        DAMAGES[damage](path)
        _add(store, "owl")
        assert [store.replaced] == broken_stores(path.parent)
        assert generation > 1  # its owner knew already that it may be another one
        assert _names(path) == ["owl"]


def test_a_store_that_is_taken_away_while_it_rests_is_made_anew(path: Path) -> None:
    with closing(Store(path, SCHEMA)) as store:
        store.rest()
        path.unlink()
        _add(store, "owl")
        assert _names(path) == ["owl"]
