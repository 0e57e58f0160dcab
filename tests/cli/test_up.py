"""`hive up` as a process of its own: a real embedded server, stand-ins as services."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from hive_cli.__main__ import run
from hive_cli.errors import NOT_RUNNING, REFUSED
from hive_cli.paths import DataDir
from hive_cli.stack import lock

pytestmark = pytest.mark.system

RUNNING: "list[Up]" = []
LAUNCHED = str(Path(__file__).with_name("launched.py"))


def alive(pid: int) -> bool:
    """Not so for a zombie: an orphan's end is its new parent's to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Up:
    """One `hive up`; its output goes to a file."""

    def __init__(self, data: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.data = DataDir(data)
        self.output = data.parent / f"{data.name}.out"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, LAUNCHED, str(data), *arguments],
                stdout=file,
                stderr=file,
                env=os.environ | (environ or {}),
            )
        RUNNING.append(self)

    @property
    def text(self) -> str:
        return self.output.read_text()

    def says(self, sentence: str) -> None:
        wait_until(lambda: sentence in self.text or self.process.poll() is not None)
        assert sentence in self.text

    def ends(self) -> int:
        return self.process.wait(timeout=20)

    def pids(self) -> dict[str, int]:
        found = json.loads((self.data.processes).read_text())
        return {name: pid for name, (pid, _) in found.items()}

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.ends()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "hive"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """A test that fails leaves no hive behind."""
    yield
    for up in RUNNING:
        up.process.kill()
        up.process.wait()
    RUNNING.clear()


def test_it_gets_ready_and_ctrl_c_leaves_nothing(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:  http://127.0.0.1:")
    pids = up.pids()
    assert set(pids) == {"redis", "broker", "supervisor", "dashboard"}
    assert json.loads(up.data.hive_json.read_text())["pid"] == up.process.pid
    assert up.interrupt() == 0
    assert [name for name, pid in pids.items() if alive(pid)] == []
    assert not up.data.hive_json.exists()


def test_everything_private_is_for_this_user_only(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:")
    assert data.stat().st_mode & 0o777 == 0o700
    secrets = list(up.data.secrets.iterdir())
    assert {path.name for path in secrets} >= {"api-token", "redis-hive-broker", "redis-hive-supervisor"}
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    up.interrupt()


def test_only_the_supervisor_sees_the_keys_of_the_model(data: Path) -> None:
    up = Up(data, environ={"ANTHROPIC_API_KEY": "k"})
    up.says("Sign in:")
    seen = {
        name: json.loads((up.data.run / f"{name}.env").read_text()) for name in ("broker", "supervisor", "dashboard")
    }
    assert [name for name, environ in seen.items() if "ANTHROPIC_API_KEY" in environ] == ["supervisor"]
    assert seen["supervisor"]["HIVE_SUPERVISOR_ENGINE"] == "scripted"
    assert seen["broker"]["HIVE_REDIS_USER"] == "hive-broker"
    up.interrupt()


def test_hive_down_stops_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up = Up(data)
    up.says("Sign in:")
    assert run(["down", "--data-dir", str(data)]) == 0
    assert f"(pid {up.process.pid}) is stopped" in capsys.readouterr().out
    assert up.ends() == 0


def test_a_second_hive_is_refused_and_told_the_pid(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:")
    second = subprocess.run([sys.executable, LAUNCHED, str(data)], capture_output=True, text=True, check=False)
    assert second.returncode == 4
    assert second.stderr.startswith(f"hive: the data directory {data} is in use by another hive (pid {up.process.pid})")
    assert up.interrupt() == 0


def test_a_service_that_dies_is_started_again(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:")
    first = up.pids()["broker"]
    os.kill(first, signal.SIGKILL)
    up.says("broker died (SIGKILL); starting it again at once")
    wait_until(lambda: up.pids()["broker"] != first)
    assert up.interrupt() == 0


def test_the_server_that_dies_is_started_again_with_what_it_held(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:")
    first = up.pids()["redis"]
    redis_command(data, b"SET kept yes")
    os.kill(first, signal.SIGKILL)
    up.says("redis died (SIGKILL)")
    wait_until(lambda: up.pids()["redis"] != first and redis_command(data, b"GET kept") == b"$3")
    assert up.interrupt() == 0


def redis_command(data: Path, command: bytes) -> bytes:
    """The first line of the reply; empty while nobody answers."""
    password = (data / "secrets" / "redis-hive-supervisor").read_bytes()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(data / "run" / "redis" / "redis.sock"))
            connection.sendall(b"AUTH hive-supervisor " + password + b"\r\n" + command + b"\r\n")
            with connection.makefile("rb") as file:
                file.readline()
                return file.readline().strip()
        except OSError:
            return b""


def test_a_killed_hive_leaves_nothing_and_the_next_one_starts(data: Path) -> None:
    up = Up(data)
    up.says("Sign in:")
    redis_command(data, b"SET kept yes")
    pids = up.pids()
    up.process.kill()
    up.process.wait()
    again = Up(data)
    again.says("Sign in:")
    assert set(again.pids().values()).isdisjoint(pids.values())
    assert [name for name, pid in pids.items() if alive(pid)] == []
    assert redis_command(data, b"GET kept") == b"$3"
    assert again.interrupt() == 0


def test_hive_down_ends_what_a_killed_hive_left(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up = Up(data, "dashboard=stubborn")
    up.says("Sign in:")
    pids = up.pids()
    up.process.kill()
    up.process.wait()
    assert run(["--data-dir", str(data), "down"]) == 0
    assert "left, and are ended: " in (said := capsys.readouterr().out)
    assert "dashboard" in said.rpartition("ended: ")[2]
    assert [name for name, pid in pids.items() if alive(pid)] == []
    assert not up.data.hive_json.exists()
    assert run(["--data-dir", str(data), "down"]) == NOT_RUNNING


def test_hive_down_lets_a_backup_finish(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.mkdir()
    with lock.held(DataDir(data), "hive backup"):
        assert run(["--data-dir", str(data), "down"]) == REFUSED
    assert f"`hive backup` (pid {os.getpid()}) is at work" in capsys.readouterr().err


def test_a_service_that_ignores_the_signal_is_killed_in_time(data: Path) -> None:
    up = Up(data, "dashboard=stubborn")
    up.says("Sign in:")
    pid = up.pids()["dashboard"]
    assert up.interrupt() == 0
    assert not alive(pid)


def test_a_second_ctrl_c_does_not_wait(data: Path) -> None:
    up = Up(data, "dashboard=stubborn")
    up.says("Sign in:")
    pid = up.pids()["dashboard"]
    up.process.send_signal(signal.SIGINT)
    up.says("stopping…")
    assert up.interrupt() == 0
    assert not alive(pid)


def test_wrong_settings_of_a_service_end_the_hive_with_its_sentence(data: Path) -> None:
    up = Up(data, "broker=settings")
    assert up.ends() == 2
    assert up.text.splitlines()[-1] == "hive: hive.toml:3: broker.rate: not a number"


def test_a_service_that_never_comes_up_ends_the_hive(data: Path) -> None:
    up = Up(data, "broker=broken")
    assert up.ends() == 1
    assert "broker does not start (exit status 1): it is broken" in up.text.splitlines()[-1]


def test_the_demo_is_told_once(data: Path) -> None:
    for _ in range(2):
        up = Up(data, "demo=yes")
        up.says("Sign in:")
        assert up.interrupt() == 0
    posts = [json.loads(line) for line in (data / "run" / "posts.jsonl").read_text().splitlines()]
    assert [post["body"]["to"] for post in posts if post["path"] == "/api/v1/messages"] == ["ada"]


def test_a_long_data_directory_gets_a_short_socket(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    up = Up(data)
    up.says("Sign in:")
    url = json.loads((data / "run" / "broker.env").read_text())["HIVE_REDIS_URL"]
    assert re.search(r"/hive-[0-9a-f]{12}/redis\.sock$", url)
    assert up.interrupt() == 0
