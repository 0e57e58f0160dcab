"""`hive watch`: lines in a pipe, a screen on a terminal; what agents write steers neither."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run
from hive_cli.watch.look import Look, changes
from hive_cli.watch.screen import overview

NOW = "2026-01-02T03:04:05Z"
STATUS: dict[str, Any] = {
    "version": "1",
    "uptime_seconds": 90,
    "redis": {"status": "ok", "detail": ""},
    "services": [{"service": "broker", "alive": True, "pid": 7}],
    "agents": {"total": 1, "running": 1, "thinking": 0},
    "warnings": [],
}
ADA: dict[str, Any] = {
    "name": "ada",
    "container": "running",
    "container_since": NOW,
    "detail": "",
    "unread": 2,
    "state": {"state": "idle", "since": NOW, "until": None, "detail": "", "cost_day_usd": 1.5},
}
HELLO = {
    "id": "m-1",
    "sender": "ada",
    "recipient": "lin",
    "body": "hello\x1b[2J\nthere",
    "state": "delivered",
    "sent_at": NOW,
}
QUESTION = {"id": "q-1", "asker": "ada", "question": "May I?"}
APPROVAL = {"id": "a-1", "requester": "hm1nd", "agent": "ada", "description": "more tools"}


def found(**other: Any) -> Look:
    return Look(**{"status": deepcopy(STATUS), "agents": [deepcopy(ADA)], **other})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        server.answers["GET", "/api/v1/status"] = (200, STATUS)
        server.answers["GET", "/api/v1/agents"] = (200, {"agents": [ADA]})
        server.answers["GET", "/api/v1/messages"] = (200, {"messages": [HELLO]})
        server.answers["GET", "/api/v1/questions"] = (200, {"questions": []})
        server.answers["GET", "/api/v1/approvals"] = (200, {"approvals": []})
        yield server


def test_changes_are_what_is_different_and_only_that() -> None:
    before, now = found(messages=[HELLO]), found(messages=[HELLO])
    assert list(changes(before, now)) == []
    later = HELLO | {"id": "m-2", "sent_at": "2026-01-02T03:04:06Z"}
    now = found(messages=[later, HELLO | {"state": "acked"}], questions=[QUESTION], approvals=[APPROVAL])
    now.agents[0]["state"]["state"] = "thinking"
    now.status["warnings"] = ["the disk is full"]
    texts = [change["text"] for change in changes(before, now)]
    assert texts[0] == "ada is thinking"
    assert texts[1:3] == ["m-1 to lin is acked", "ada → lin: hello\x1b[2J\nthere"]
    assert texts[3:] == [
        "question q-1 from ada: May I?",
        "approval a-1 from hm1nd: more tools",
        "warning: the disk is full",
    ]
    assert [change["text"] for change in changes(before, found(agents=[]))] == ["ada is gone"]


@pytest.mark.parametrize(("width", "height"), [(200, 50), (80, 24), (40, 10), (20, 6), (8, 6)])
def test_the_overview_fits_and_what_agents_write_does_not_steer_it(width: int, height: int) -> None:
    many = [HELLO | {"id": f"m-{number}"} for number in range(60)]
    lines = overview(found(messages=many, questions=[QUESTION], approvals=[APPROVAL]), width=width, height=height)
    assert len(lines) <= height
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert all("\x1b" not in line and "\n" not in line for line in plain)
    assert max(len(line) for line in plain[1:]) <= max(width, 8)


def test_without_a_hive_it_says_so(tmp_path: Path) -> None:
    assert run(["watch", "--data-dir", str(tmp_path)]) == 6


def _start(tmp_path: Path, *words: str, **streams: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "hive_cli", "--data-dir", str(tmp_path / "data"), "watch", "--interval", "0.1"]
    return subprocess.Popen([*command, *words], env={**os.environ, "TERM": "xterm"}, **streams)


def test_in_a_pipe_it_prints_what_is_and_then_each_change_until_interrupted(api: FakeApi, tmp_path: Path) -> None:
    process = _start(tmp_path, "--json", stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert json.loads(process.stdout.readline())["text"] == "ada is idle"
        busy = deepcopy(ADA)
        busy["state"]["state"] = "thinking"
        api.answers["GET", "/api/v1/agents"] = (200, {"agents": [busy]})
        assert json.loads(process.stdout.readline())["state"] == "thinking"
        api.answers["GET", "/api/v1/agents"] = (503, {"detail": "Redis is away"})
        assert json.loads(process.stdout.readline()) == {"kind": "away", "text": "Redis is away"}
        api.answers["GET", "/api/v1/agents"] = (200, {"agents": [busy]})
        assert json.loads(process.stdout.readline())["kind"] == "back"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()


def test_on_a_terminal_it_draws_and_q_gives_the_terminal_back(api: FakeApi, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = _start(tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        text = _read_until(ours, b"hello")
        assert b"\x1b[?1049h" in text
        assert b"\x1b[2J" not in text
        os.write(ours, b"q")
        assert b"\x1b[?1049l" in _read_until(ours, b"\x1b[?1049l")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(descriptor: int, wanted: bytes) -> bytes:
    text, deadline = b"", time.monotonic() + 20
    while wanted not in text:
        assert select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0], text
        text += os.read(descriptor, 65536)
    return text


@pytest.mark.slow
def test_a_shell_completes_verbs_and_the_names_of_agents(api: FakeApi, tmp_path: Path) -> None:
    def complete(line: str) -> list[str]:
        own = {"_HIVE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        own |= {"HIVE_DATA_DIR": str(tmp_path / "data")}
        program = "from hive_cli.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **own}, capture_output=True, text=True, check=False
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("hive sta") == ["status", "stats", "start"]
    assert complete("hive stop a") == ["ada"]
    assert complete("hive up --ru") == ["--runtime"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_HIVE_COMPLETE" in capsys.readouterr().out
