"""Tests that fail run again under CI, with servers of their own, and are named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import alive

from hive_cli.checks import flaky

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from tests.support.redis_server import redis_server

@pytest.fixture
def redis():
    with redis_server() as server:
        yield server
"""
TESTS = """
from pathlib import Path
from tests.support.processes import alive

TRIES = Path(__file__).with_name("tries")

def test_lucky_at_last(redis):
    before = TRIES.read_text().split() if TRIES.exists() else []
    assert not any(alive(int(pid)) for pid in before), "a server of a failed try is left"
    with TRIES.open("a") as tries:
        print(redis.process.pid, file=tries)
    assert len(before) == 2, f"try {len(before) + 1}"

def test_that_never_passes():
    raise AssertionError("never")

def test_that_passes():
    pass
"""


def run_pytest(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(TESTS)
    command = (sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *arguments, str(directory))
    without = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, check=False)


@pytest.mark.system
@pytest.mark.parametrize("workers", [(), ("--numprocesses=2", "--dist=loadfile")], ids=["alone", "workers"])
def test_under_ci_a_test_that_passes_at_last_is_named_and_one_that_never_does_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    done = run_pytest(tmp_path, *flaky.rerun_arguments(), *workers)
    told = [line for line in done.stdout.splitlines() if flaky.MARK in line]
    assert len(told) == 1, done.stdout
    assert told[0].endswith("test_it.py::test_lucky_at_last passed at try 3; mend it")
    assert "AssertionError: try 2" in done.stdout
    assert "1 failed, 2 passed, 4 rerun" in done.stdout
    assert done.returncode == 1
    servers = [int(pid) for pid in (tmp_path / "tries").read_text().split()]
    assert len(set(servers)) == 3
    assert not any(alive(pid) for pid in servers)


def test_elsewhere_nothing_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert flaky.rerun_arguments() == ()
