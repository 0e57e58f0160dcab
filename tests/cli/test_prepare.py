"""`hive prepare`: what services need that something else than `hive up` starts."""

import json
import os
import socket
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hive_cli.__main__ import run
from hive_cli.paths import DataDir
from hive_cli.stack import owner
from hive_cli.stack.lock import held

NOBODY = owner.Owner(65534, 65534)
GONE = 60_123
"""A user that is no more."""
AS_NOBODY = ("--user", "65534:65534")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away; run the tests as root")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data() -> Iterator[Path]:
    """pytest keeps its own folders to itself; another user must pass here."""
    with tempfile.TemporaryDirectory(prefix="hive-prepare-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "data")


@pytest.fixture
def prepare(data: Path) -> Callable[..., int]:
    words = ["--data-dir", str(data), "prepare", "--manager", "systemd", "--engine", "scripted"]
    return lambda *arguments: run([*words, *arguments])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_secrets_users_and_variables_and_keeps_them(prepare: Callable[..., int], data: Path) -> None:
    assert prepare() == 0
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    first = {path: path.read_text() for path in files}
    assert {path.name for path in files} >= {"users.acl", "valkey.conf", "api-token", "metrics-token", "broker.env"}
    assert prepare() == 0
    assert {path: path.read_text() for path in files} == first
    assert all(mode(path) == 0o600 for path in files)


def test_the_socket_of_a_server_that_runs_stays(prepare: Callable[..., int], data: Path) -> None:
    assert prepare() == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(data / "run/redis/redis.sock"))
        assert prepare() == 0
        assert (data / "run/redis/redis.sock").is_socket()


def test_services_get_what_they_need_to_reach_redis(prepare: Callable[..., int], data: Path) -> None:
    assert prepare() == 0
    lines = (data / "run/services/broker.env").read_text().splitlines()
    assert f'HIVE_REDIS_PASSWORD_FILE="{data}/secrets/redis-hive-broker"' in lines
    assert f'HIVE_REDIS_URL="unix://{data}/run/redis/redis.sock"' in lines
    assert 'HIVE_SUPERVISOR_ENGINE="scripted"' in (data / "run/services/supervisor.env").read_text()


def test_clients_are_told_the_address_and_who_starts_the_hive(prepare: Callable[..., int], data: Path) -> None:
    assert prepare() == 0
    told = json.loads((data / "run/hive.json").read_text())
    assert (told["address"], told["manager"]) == ("http://127.0.0.1:7000", "systemd")


def test_up_refuses_what_something_else_starts(prepare: Callable[..., int], data: Path, capsys: Capture) -> None:
    assert prepare() == 0
    assert run(["--data-dir", str(data), "up"]) == 4
    assert "are started by systemd" in capsys.readouterr().err


def test_it_refuses_beside_a_running_hive(prepare: Callable[..., int], data: Path, capsys: Capture) -> None:
    data.mkdir()
    with held(DataDir(data)):
        assert prepare() == 4
    assert "hive down" in capsys.readouterr().err
    with held(DataDir(data), "hive backup"):
        assert prepare() == 4
    assert "`hive backup`" in capsys.readouterr().err


@pytest.mark.parametrize(("user", "status"), [("nobody-of-this-name", 2), ("12", 2), ("a:b", 2)])
@needs_root
def test_an_unknown_user_is_exit_2_and_makes_nothing(
    user: str, status: int, prepare: Callable[..., int], data: Path
) -> None:
    assert prepare("--user", user) == status
    assert not data.exists()


@needs_root
def test_the_services_user_reads_its_own_secrets_and_no_others(prepare: Callable[..., int], data: Path) -> None:
    assert prepare(*AS_NOBODY) == 0

    def look() -> None:
        for name in ("redis-hive-broker", "redis-hive-dashboard", "api-token"):
            assert (data / "secrets" / name).read_text()
        for path in (data / "secrets/redis-hive-supervisor", data / "run/services/supervisor.env"):
            with pytest.raises(PermissionError):
                path.read_text()
        (data / "broker.sqlite").touch()
        with pytest.raises(PermissionError):
            (data / "hive.id").rename(data / "moved")

    owner.as_user(NOBODY, look)


@needs_root
def test_what_a_restore_left_as_roots_goes_to_whom_it_belongs(prepare: Callable[..., int], data: Path) -> None:
    (data / "agents/ada").mkdir(parents=True, mode=0o700)
    names = ("broker.sqlite", "dashboard.sqlite", "agents/ada/events.sqlite", "supervisor.sqlite")
    for name in names:
        with sqlite3.connect(data / name) as db:
            db.execute("CREATE TABLE kept (id INTEGER)")
        db.close()
        (data / name).chmod(0o600)
    os.chown(data / "dashboard.sqlite", GONE, GONE)
    (data / "run").mkdir()
    (data / "run/broker-0.lock").touch(mode=0o600)
    assert prepare(*AS_NOBODY) == 0

    def use() -> None:
        for name in names[:3]:
            with sqlite3.connect(data / name) as db:
                db.execute("INSERT INTO kept VALUES (1)")
            db.close()
        (data / "run/broker-0.lock").touch()
        assert (data / "supervisor.sqlite").read_bytes()
        with pytest.raises(PermissionError):
            (data / "supervisor.sqlite").open("r+b")

    owner.as_user(NOBODY, use)


@needs_root
def test_what_others_lay_under_the_name_of_a_store_is_left_alone(prepare: Callable[..., int], data: Path) -> None:
    assert prepare(*AS_NOBODY) == 0
    victim = data.parent / "victim"
    victim.write_bytes(owner.SQLITE)
    victim.chmod(0o600)
    (data / "broker.sqlite").hardlink_to(victim)
    (data / "dashboard.sqlite").symlink_to(victim)
    (data / "approvals.sqlite").write_text("a secret of root's")
    (data / "approvals.sqlite").chmod(0o600)
    assert prepare(*AS_NOBODY) == 0
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (0, 0o600)
    assert (data / "approvals.sqlite").stat().st_mode & 0o777 == 0o600


@needs_root
def test_a_link_that_the_services_user_laid_leads_nobody_astray(prepare: Callable[..., int], data: Path) -> None:
    assert prepare(*AS_NOBODY) == 0
    victim = data.parent / "victim"
    victim.write_text("kept")
    victim.chmod(0o600)
    for place in ("redis/users.acl.partial", "run/hive.json.partial"):
        (data / place).symlink_to(victim)
    (data / "redis/users.acl").unlink()
    (data / "redis/users.acl").symlink_to(victim)
    assert prepare(*AS_NOBODY) in {0, 4}
    assert victim.read_text() == "kept"
    assert victim.stat().st_uid == 0


@needs_root
def test_a_folder_that_is_a_link_is_refused(prepare: Callable[..., int], data: Path) -> None:
    assert prepare(*AS_NOBODY) == 0
    elsewhere = data.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (data / "redis").rename(data.parent / "was-redis")
    (data / "redis").symlink_to(elsewhere)
    assert prepare(*AS_NOBODY) == 4
    assert elsewhere.stat().st_uid == 0
