"""What `hive up` refuses before it starts anything: one sentence, an exit code, nothing changed."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hive_cli.__main__ import run
from hive_cli.paths import DataDir
from hive_cli.stack import lock

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def up(tmp_path: Path, capsys: Capture) -> Callable[..., tuple[int, str]]:
    """Runs `hive up` on <tmp>/hive; returns the exit code and the last line of what it said."""

    def call(*arguments: str) -> tuple[int, str]:
        code = run(["up", "--data-dir", str(tmp_path / "hive"), *arguments])
        return code, capsys.readouterr().err.strip()

    return call


Up = Callable[..., tuple[int, str]]


def test_a_taken_port_is_named(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert up("--port", str(port)) == (
            4,
            f"hive: port {port} on 127.0.0.1 is taken; choose another with --port",
        )


def test_a_data_directory_that_is_a_file_is_refused(up: Up, tmp_path: Path) -> None:
    (tmp_path / "hive").write_text("")
    code, sentence = up()
    assert code == 4
    assert "is not writable (it is no directory)" in sentence


def test_a_data_directory_on_a_read_only_place_is_refused(capsys: Capture) -> None:
    assert run(["up", "--data-dir", "/proc/hive"]) == 4
    assert "the data directory /proc/hive is not writable" in capsys.readouterr().err


def test_a_locked_data_directory_names_the_pid(up: Up, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "hive")
    data.root.mkdir()
    with lock.held(data):
        code, sentence = up()
        assert lock.running_pid(data) == os.getpid()
    assert code == 4
    assert f"in use by another hive (pid {os.getpid()})" in sentence
    assert lock.running_pid(data) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[redis\n", "is not valid TOML"),
        ("[redis]\nappendfsync = 'no'\n", "hive.toml:2: redis.appendfsync:"),
        ("\n[redis]\nspeed = 3\n", "hive.toml:3: redis.speed: no such setting"),
        ("[brokr]\n", "hive.toml:1: unknown section [brokr]"),
        ("[redis]\nmaxmemory = 'lots'\n", "hive.toml:2: redis.maxmemory:"),
        ("[dashboard]\nport = 'x'\n", "dashboard.port: 'x' is no number from 0 to 65535"),
        ("[dashboard]\nport = 70000\n", "dashboard.port: 70000 is no number"),
    ],
)
def test_a_broken_settings_file_names_key_and_line(text: str, sentence: str, up: Up, tmp_path: Path) -> None:
    (tmp_path / "hive").mkdir()
    (tmp_path / "hive" / "hive.toml").write_text(text)
    code, said = up()
    assert code == 2
    assert sentence in said
    assert sorted(path.name for path in (tmp_path / "hive").iterdir()) == ["hive.toml"]


@pytest.mark.parametrize("url", ["localhost:6379", "http://x", "redis://", "redis://:secret@h:port"])
def test_what_is_no_redis_url_is_exit_2_and_shows_no_password(url: str, up: Up) -> None:
    code, sentence = up("--redis", url, "--port", "0", "--engine", "scripted")
    assert code == 2
    assert "is not the URL of a Redis" in sentence
    assert "secret" not in sentence


def test_claude_asked_for_and_missing_is_exit_4(up: Up, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HIVE_CLAUDE", raising=False)
    code, sentence = up("--engine", "claude", "--port", "0")
    assert code == 4
    assert sentence == "hive: claude is not installed; install it with `hive setup claude`"
