"""`hive backup` and `hive restore` where no `hive up` runs: it is down, or others start its services."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from hive_cli.__main__ import run
from hive_cli.paths import DataDir
from hive_cli.stack import data_dir, lock
from hive_cli.stack.config import RedisSettings
from hive_cli.stack.prepare import Wishes, prepare
from hive_cli.stack.redis_briefly import embedded_redis
from hive_cli.stack.redis_embedded import server_binary
from hive_runtime.agent_settings import secret_file
from hive_runtime.process import die_with_parent
from hive_runtime.redis_bus import connect
from hive_runtime.redis_url import RedisAddress
from hive_supervisor.store import SupervisorStore

Capture = pytest.CaptureFixture[str]
Hive = Callable[..., int]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A hive that is down: ada has notes, and there is a key for the model."""
    found = DataDir(tmp_path / "hive")
    data_dir.prepare(found)
    SupervisorStore(found.root / "supervisor.sqlite").close()
    (found.root / "agents" / "ada" / "state").mkdir(parents=True)
    (found.root / "agents" / "ada" / "state" / "notes.md").write_text("the bee is called Clementine")
    for name in ("model-key", secret_file("GITHUB_TOKEN"), secret_file("GITHUB_TOKEN", "ada")):
        data_dir.write_private(found.secrets / name, "sk-of-the-hive")
    with lock.held(found), embedded_redis(found, RedisSettings()):
        pass
    return found


@pytest.fixture
def hive(data: DataDir) -> Hive:
    return lambda *words: run(["--data-dir", str(data.root), *words])


@pytest.mark.slow
def test_a_hive_that_is_down_comes_back_with_notes_and_keys(
    data: DataDir, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "passphrase").write_text("correct horse\nbattery\n")
    secret = ("--passphrase-file", str(tmp_path / "passphrase"))
    archive = tmp_path / "hive.tar.gz"
    assert hive("backup", str(archive), "--state", "--credentials", *secret, "--json") == 0
    assert json.loads(capsys.readouterr().out)["agents"] == ["ada"]
    assert lock.running_pid(data) is None
    assert b"sk-of-the-hive" not in archive.read_bytes()
    again = DataDir(tmp_path / "again")
    assert run(["restore", str(archive), "--data-dir", str(again.root), *secret]) == 0
    assert (again.root / "agents" / "ada" / "state" / "notes.md").read_text() == "the bee is called Clementine"
    for name in ("model-key", secret_file("GITHUB_TOKEN"), secret_file("GITHUB_TOKEN", "ada")):
        assert (again.secrets / name).read_text() == "sk-of-the-hive"
    assert (again.secrets / "redis-hive-supervisor").read_text() != (data.secrets / "redis-hive-supervisor").read_text()
    assert (again.root / "hive.id").read_text() != ""


@pytest.mark.slow
def test_without_its_passphrase_a_hive_comes_back_without_keys(data: DataDir, hive: Hive, tmp_path: Path) -> None:
    (tmp_path / "right").write_text("correct horse")
    (tmp_path / "wrong").write_text("wrong horse")
    archive, again = tmp_path / "hive.tar.gz", tmp_path / "again"
    assert hive("backup", str(archive), "--credentials", "--passphrase-file", str(tmp_path / "right")) == 0
    words = ["restore", str(archive), "--data-dir", str(again)]
    assert run([*words, "--passphrase-file", str(tmp_path / "wrong")]) == 4
    assert not again.exists()
    assert run(words) == 0
    assert not (again / "secrets" / "model-key").exists()


@pytest.mark.slow
def test_a_settings_file_with_a_password_is_in_no_archive_in_clear(
    data: DataDir, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    data.settings.write_text('[redis]\nurl = "redis://me:hunter2hunter2@127.0.0.1:1/0"\n')
    assert hive("backup", str(tmp_path / "x.tar.gz")) == 1
    assert "hunter2hunter2" not in capsys.readouterr().err
    assert not (tmp_path / "x.tar.gz").exists()
    data.settings.write_text("[broker]\nmax_hops = 7\n")
    assert hive("backup", str(tmp_path / "x.tar.gz")) == 0
    assert run(["restore", str(tmp_path / "x.tar.gz"), "--data-dir", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "hive.toml").read_text() == data.settings.read_text()


def test_what_is_there_is_not_overwritten_and_what_is_no_hive_is_not_backed_up(
    data: DataDir, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "there").write_text("something else")
    assert hive("backup", str(tmp_path / "there")) == 2
    assert (tmp_path / "there").read_text() == "something else"
    assert run(["backup", str(tmp_path / "new"), "--data-dir", str(tmp_path / "none")]) == 4
    assert "there is no hive in" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert hive("backup", str(tmp_path / ("x" * 300))) == 4
    assert "File name too long; name another" in capsys.readouterr().err
    assert hive("restore", str(tmp_path / "nowhere")) == 4
    assert "there is no file" in capsys.readouterr().err
    with lock.held(data):
        assert hive("backup", str(tmp_path / "new")) == 1  # somebody holds it, and no server answers
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_hive_that_is_down_and_takes_time_to_load_is_backed_up(data: DataDir, hive: Hive, tmp_path: Path) -> None:
    with lock.held(data), embedded_redis(data, RedisSettings()) as address:
        asyncio.run(_fill(address))
    assert hive("backup", str(tmp_path / "x.tar.gz")) == 0


async def _fill(address: RedisAddress) -> None:
    async with aclosing(connect(address)) as redis:
        for _ in range(20):
            pipe = redis.pipeline(transaction=False)
            for _ in range(2_000):
                pipe.xadd("hive:events", {"data": "x" * 100})
            await pipe.execute()


@contextmanager
def served(data: DataDir) -> Iterator[None]:
    """Redis as a unit or a compose file starts it."""
    command = [str(server_binary()), str(data.redis / "valkey.conf")]
    with (data.root / "redis.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL))
    try:
        wait_until(lambda: b"eady to accept connections" in (data.root / "redis.log").read_bytes())
        yield
    finally:
        server.terminate()
        server.wait()


def test_a_hive_whose_services_something_else_starts_is_backed_up_while_it_runs(
    data: DataDir, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    prepare(data, Wishes("systemd", engine="scripted"), os.environ, lambda text: None)
    assert hive("backup", str(tmp_path / "x.tar.gz")) == 1
    assert "Redis does not answer" in capsys.readouterr().err
    with served(data):
        assert hive("backup", str(tmp_path / "x.tar.gz")) == 0
    assert run(["restore", "--check", str(tmp_path / "x.tar.gz")]) == 0
