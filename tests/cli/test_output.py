"""Tables on terminals of every width, and colours where they are wanted."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import fake_api

from hive_cli.output import fitted, print_table

HEADERS = ("TIME", "FROM", "TO", "ID", "BODY")


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 500])
def test_widths_fit_where_they_can_and_ids_stay_whole(columns: int) -> None:
    wide = [16, 31, 31, 18, 400]
    found = fitted(HEADERS, wide, columns)
    assert found[3] == 18
    assert sum(found) + 2 * 4 <= max(columns, 16 + 8 + 6 + 6 + 18 + 12)
    assert all(new <= old for new, old in zip(found, wide, strict=True))


def test_what_fits_is_left_as_it_is() -> None:
    assert fitted(HEADERS, [8, 3, 3, 18, 5], 80) == [8, 3, 3, 18, 5]


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [("x" * 300, "y" * 300)])
    assert "y" * 300 in capsys.readouterr().out


def on_terminal(*words: str, columns: int = 60, **environment: str) -> str:
    """What the command line shows on a terminal of that width."""
    ours, theirs = pty.openpty()
    own = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "hive_cli", *words]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=own) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        process.wait(20)
    return text.decode()


@pytest.mark.slow
def test_a_terminal_gets_colours_unless_it_wants_none(tmp_path: Path) -> None:
    ada = {
        "name": "ada",
        "container": "stopped",
        "container_since": None,
        "detail": "",
        "unread": 0,
        "engine": "claude",
    }
    with fake_api(tmp_path / "data") as api:
        api.answers["GET", "/api/v1/agents"] = (200, {"agents": [ada]})
        words = ("agents", "--data-dir", str(tmp_path / "data"))
        assert "\x1b[" in on_terminal(*words, NO_COLOR="")
        assert "\x1b[" not in on_terminal(*words, NO_COLOR="1")


def test_a_sentence_that_is_wider_than_the_terminal_goes_on_below_its_label(tmp_path: Path) -> None:
    why = "the strongest that runs here, for nothing else does and nobody asked for another"
    found: dict[str, Any] = {
        "version": "0.1.0",
        "uptime_seconds": 5,
        "redis": {"status": "ok", "detail": ""},
        "services": [],
        "agents": {"total": 0, "running": 0, "thinking": 0},
        "info": {"engine": "scripted", "engine_reason": "", "runtime": "process", "isolation": "none"},
    }
    with fake_api(tmp_path) as api:
        api.answers["GET", "/api/v1/status"] = (200, found | {"info": {**found["info"], "runtime_reason": why}})
        text = on_terminal("status", "--data-dir", str(tmp_path), columns=50, NO_COLOR="1")
    lines = re.split(r"\r?\n", text)
    assert max(len(line) for line in lines[1:]) <= 50
    assert why in " ".join(line.strip() for line in lines)


@pytest.mark.slow
def test_what_must_be_read_whole_goes_on_below(tmp_path: Path) -> None:
    text = on_terminal("doctor", "bubblewrap", "user", "--data-dir", str(tmp_path), columns=50, NO_COLOR="1")
    assert "…" not in text
    assert max(len(line) for line in re.split(r"\r?\n", text)) <= 50
