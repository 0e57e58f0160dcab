"""Snapshots: all stores of one moment, while their writers go on."""

import itertools
import os
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hive_cli.backup import configs, stores
from hive_contracts.errors import Refused
from hive_runtime.store import Store

COUNT = "CREATE TABLE numbers (n INTEGER NOT NULL) STRICT"


def _write(store: Store, number: int) -> None:
    with store.transaction() as db:
        db.execute("INSERT INTO numbers (n) VALUES (:n)", {"n": number})


def _newest(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT coalesce(max(n), 0) FROM numbers").fetchone()[0])


def _copied(root: Path, to: Path, also: Callable[[], object] = lambda: 0) -> dict[str, int]:
    with stores.opened() as found:
        found.take(root, also)
        for snapshot in found.found:
            snapshot.copy(to / snapshot.path.name)
        return {snapshot.path.name: _newest(to / snapshot.path.name) for snapshot in found.found}


@pytest.mark.slow
def test_a_writer_of_two_stores_is_never_seen_between_them(tmp_path: Path) -> None:
    stop, rest = threading.Event(), threading.Event()
    (tmp_path / "to").mkdir()

    def work() -> None:
        one, other = (Store(tmp_path / name, (COUNT,)) for name in ("broker.sqlite", "approvals.sqlite"))
        with closing(one), closing(other):
            for number in itertools.count(1):
                _write(one, number)
                _write(other, number)
                ready.set()
                if stop.is_set():
                    return
                rest.wait(0.001)

    ready = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(20)
        taken = 0
        for _ in range(40):
            for file in (tmp_path / "to").glob("*"):
                file.unlink()
            try:
                found = _copied(tmp_path, tmp_path / "to")
            except stores.NotAtRest:
                continue
            taken += 1
            assert found["broker.sqlite"] - found["approvals.sqlite"] in (0, 1)
    finally:
        stop.set()
        thread.join()
    assert taken


def test_what_is_written_after_the_moment_is_not_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with closing(Store(tmp_path / "broker.sqlite", (COUNT,))) as store:
        _write(store, 1)
        with stores.opened() as found:
            found.take(tmp_path, lambda: 0)
            _write(store, 2)
            (snapshot,) = found.found
            snapshot.copy(tmp_path / "to" / "copy")
        assert (_newest(tmp_path / "to" / "copy"), snapshot.version) == (1, 1)
        assert list((tmp_path / "to").iterdir()) == [tmp_path / "to" / "copy"]


def test_stores_that_never_rest_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SETTLE_S", 0.1)
    changing = iter(range(10_000))
    with stores.opened() as found, pytest.raises(stores.NotAtRest, match="try again"):
        found.take(tmp_path, lambda: next(changing))


def test_a_broken_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "broker.sqlite").write_bytes(b"no database" * 200)
    with stores.opened() as found, pytest.raises(Refused, match=r"broker\.sqlite cannot be read"):
        found.take(tmp_path, lambda: 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk; run it as root")
def test_a_disk_without_room_for_a_copy_is_told_from_a_broken_store(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store")) as db:
        db.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(1000000));")
    (small := tmp_path / "small").mkdir()
    copy = f"stores.Snapshot(Path('store'), sqlite3.connect('{tmp_path}/store'), 1).copy(Path('{small}/copy'))"
    program = f"import sqlite3\nfrom pathlib import Path\nfrom hive_cli.backup import stores\n{copy}"
    script = f"mount -t tmpfs -o size=64k none {small} && exec {shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "OSError: [Errno 28] No space left on device"


def test_a_repository_comes_back_with_the_branches_and_tags_that_were_seen(tmp_path: Path) -> None:
    repository = tmp_path / "configs" / "ada.git"
    repository.mkdir(parents=True)
    run = configs._git
    run(repository, "init", "--quiet", "--bare", "--initial-branch=main", str(repository))

    def commit(text: str, *parents: str) -> str:
        blob = run(repository, "hash-object", "-w", "--stdin", stdin=text.encode()).decode().strip()
        tree = run(repository, "mktree", stdin=f"100644 blob {blob}\tagent.toml\n".encode()).decode().strip()
        words = ("-c", "user.name=x", "-c", "user.email=x@hive", "commit-tree", tree, "-m", text)
        return run(repository, *words, *(word for parent in parents for word in ("-p", parent))).decode().strip()

    first, denied = commit("first"), commit("denied")
    run(repository, "update-ref", "refs/heads/main", first)
    run(repository, "update-ref", "refs/tags/denied/a-1", denied)
    seen = configs.all_refs(tmp_path)
    run(repository, "update-ref", "refs/heads/main", commit("later", first))
    configs.make_bundle(repository, seen["ada"], tmp_path / "ada.bundle")
    configs.unbundle(tmp_path / "ada.bundle", tmp_path / "again.git")
    assert configs.refs_of(tmp_path / "again.git") == seen["ada"]
    (tmp_path / "ada.bundle").write_bytes((tmp_path / "ada.bundle").read_bytes()[:-30])
    with pytest.raises(Refused):
        configs.unbundle(tmp_path / "ada.bundle", tmp_path / "third.git")
