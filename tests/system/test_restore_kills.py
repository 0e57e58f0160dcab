"""kill -9 of a restore before each of its lines: the data directory is not there or whole, and it can be done again."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis
from tests.support.killed_at.points import Point, environment, points, strike_at
from tests.support.redis_server import ADMIN_PASSWORD, RedisServer

from hive_cli.backup import archive, restore
from hive_cli.backup.archive import Header
from hive_contracts import streams
from hive_contracts.stores import HIVE_STORES
from hive_runtime.records.approvals import ApprovalWriter
from hive_runtime.redis_dump import MARK, RedisDump

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

LOCAL: Final = [
    *points(restore.restore, only=("_place", "shutil", "_take_place", "finish")),
    *points(restore._take_place, only=("os.sync", "staged.root.rename", "archive.sync")),
]
EXEC: Final = list(points(RedisDump.load, only=("before =",)))
NAMES: Final = {"approvals.sqlite", "hive.id", "hive.lock", "logs", "redis", "secrets", "agents"}


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backup")
    ApprovalWriter(folder / "approvals.sqlite").close()
    return _write(folder / "hive.tar.gz", folder / "approvals.sqlite", "one-backup-id")


def _write(path: Path, store: Path, name: str) -> Path:
    with archive.writing(path, Header(hyperhive_backup=1, id=name, made_at="2026-01-01T00:00:00+00:00")) as writer:
        writer.add_bytes(archive.STREAMS, b"")
        writer.add_file("stores/approvals.sqlite", store)
        writer.add_bytes("harness/ada/harness.json", b"{}")
        writer.end(agents=["ada"], stores={"approvals.sqlite": HIVE_STORES["approvals.sqlite"]})
    return path


def _run(file: Path, target: Path, *words: str, kill: Point | None = None) -> "subprocess.CompletedProcess[str]":
    own = dict(os.environ)
    if kill:
        plan = target.parent / "plan"
        strike_at(plan, kill)
        own |= environment(plan, [kill]) | {"KILL_WHO": "hive_cli"}
    command = [sys.executable, "-m", "hive_cli", "restore", str(file), "--data-dir", str(target), *words]
    return subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=False)


def _is_whole(target: Path) -> bool:
    return {path.name for path in target.iterdir()} >= NAMES and not (target / "unpacked").exists()


def test_killed_anywhere_it_leaves_nothing_or_all_and_can_be_done_again(backup: Path, tmp_path: Path) -> None:
    target = tmp_path / "hive"
    for point in LOCAL:
        done = _run(backup, target, kill=point)
        assert done.returncode == -signal.SIGKILL, f"{point}: {done.stderr}"
        if target.exists():
            assert _is_whole(target), point
            shutil.rmtree(target)
    assert _run(backup, target).returncode == 0
    assert _is_whole(target)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.fixture
def server(redis: RedisServer) -> Iterator[Any]:
    client: Any = Redis.from_url(redis.address.url, username="admin", password=ADMIN_PASSWORD, decode_responses=True)
    with closing(client):
        yield client


def test_a_server_of_ones_own_gets_all_keys_or_none_and_the_same_backup_again(
    backup: Path, redis: RedisServer, server: Any, tmp_path: Path
) -> None:
    url = ("--redis", f"unix://admin:{ADMIN_PASSWORD}@{redis.door}")
    target = tmp_path / "hive"
    for point in EXEC:
        assert _run(backup, target, *url, kill=point).returncode == -signal.SIGKILL
        assert server.keys("hive:*") == []
    rename = next(point for point in points(restore._take_place) if point.text.startswith("staged.root.rename"))
    assert _run(backup, target, *url, kill=rename).returncode == -signal.SIGKILL
    assert not target.exists()
    assert server.get(MARK) == "one-backup-id"
    other = _write(tmp_path / "other.tar.gz", backup.parent / "approvals.sqlite", "another-backup")
    refused = _run(other, target, *url)
    assert refused.returncode == 4
    assert "holds a hive already" in refused.stderr
    assert not target.exists()
    assert _run(backup, target, *url).returncode == 0
    assert server.get(MARK) is None
    assert server.get(streams.OWNER) == (target / "hive.id").read_text()
    assert _run(backup, tmp_path / "second", *url).returncode == 4


def test_a_server_that_is_away_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    away = _run(backup, tmp_path / "hive", "--redis", f"unix://{tmp_path}/none.sock")
    assert away.returncode == 1
    assert "Redis does not answer" in away.stderr
    assert not (tmp_path / "hive").exists()
    assert _run(backup, tmp_path / "hive", "--redis", "http://nonsense").returncode == 2


IN_A_MOUNT: Final = """
set -e
mount -t tmpfs none "$TARGET"
mkdir "$TARGET/lost+found"
hive() { "$PYTHON" -m hive_cli "$@" --data-dir "$TARGET"; }
code=0; hive restore "$FILE" || code=$?
[ $code = 137 ]
[ -e "$TARGET/restoring" ]
code=0; hive up || code=$?
[ $code = 4 ]
hive restore "$FILE"
ls -A "$TARGET"
code=0; hive restore "$FILE" || code=$?
[ $code = 4 ]
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount; run the tests as root")
def test_a_mount_point_is_filled_and_no_hive_starts_on_one_that_is_half_filled(backup: Path, tmp_path: Path) -> None:
    plan, target = tmp_path / "plan", tmp_path / "mounted"
    target.mkdir()
    chosen = next(point for point in points(restore._fill) if point.text.startswith("archive.sync"))
    strike_at(plan, chosen)
    own = {**os.environ, **environment(plan, [chosen]), "KILL_WHO": "hive_cli"}
    own |= {"TARGET": str(target), "FILE": str(backup), "PYTHON": sys.executable}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", IN_A_MOUNT],
        env=own,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "was cut short; run it again" in done.stderr
    assert "is not empty" in done.stderr
    assert set(done.stdout.split()) >= NAMES
    assert "restoring" not in done.stdout.splitlines()
