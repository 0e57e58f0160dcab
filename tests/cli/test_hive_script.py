"""The `hive` script at the root, run by sh with a PATH of the test's own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "cksum", "readlink", "cat", "env")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The script with what it looks at, without a virtual environment."""
    root = tmp_path / "clone"
    (root / "cli" / "hive_cli").mkdir(parents=True)
    for name in ("hive", "pyproject.toml", "constraints.txt", "hatch_build.py", "cli/hive_cli/bootstrap.py"):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for PATH with no Python in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (directory / name).symlink_to(found)
    return directory


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(script: Path, tools: Path, *arguments: str, cwd: str = "/") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [script, *arguments], env={"PATH": str(tools)}, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_without_python_it_says_what_is_needed(clone: Path, tools: Path) -> None:
    done = run(clone / "hive", tools, "up")
    assert done.returncode == 4
    assert (
        done.stderr
        == "hive: no Python was found: hyperhive needs Python 3.11 or newer; install one and run this again.\n"
    )


def test_an_old_python_is_named_with_its_version(clone: Path, tools: Path) -> None:
    program(tools / "python3", "echo 3.10")
    done = run(clone / "hive", tools, "up")
    assert done.returncode == 4
    assert done.stderr.startswith("hive: Python 3.10 is too old: hyperhive needs Python 3.11 or newer")
    assert not (clone / ".venv").exists()


def test_a_newer_python_is_preferred_to_an_old_one(clone: Path, tools: Path) -> None:
    program(tools / "python3", "echo 3.9")
    program(tools / "python3.12", '[ "$1" = -c ] && echo 3.12 || { echo "$@"; exit 7; }')
    done = run(clone / "hive", tools, "up")
    assert done.returncode == 7
    assert done.stdout.startswith(f"{clone}/cli/hive_cli/bootstrap.py --extra all --inputs {clone}\n")


def made(clone: Path, extra: str = "all") -> None:
    """As after an installation: an interpreter and the stamp."""
    python = clone / ".venv" / "bin" / "python"
    program(python, 'echo "ran $*"')
    sums = subprocess.run(
        ["cksum", "pyproject.toml", "constraints.txt", "hatch_build.py"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (clone / ".venv" / f".hive-{extra}").write_text(f"{clone}\n{sums}{python}")


def test_with_a_right_stamp_it_runs_the_command_line_at_once(clone: Path, tools: Path) -> None:
    made(clone)
    assert run(clone / "hive", tools, "send", "ada", "two words").stdout == "ran -m hive_cli send ada two words\n"


def test_it_is_found_through_symlinks_and_from_anywhere(clone: Path, tools: Path, tmp_path: Path) -> None:
    made(clone)
    (tmp_path / "one").symlink_to("clone/hive")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert run(tmp_path / "two", tools, "status", cwd=str(tmp_path)).stdout == "ran -m hive_cli status\n"


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "hatch_build.py"])
def test_a_change_of_what_was_installed_installs_again(name: str, clone: Path, tools: Path) -> None:
    made(clone)
    with (clone / name).open("a") as file:
        file.write("\n# more\n")
    program(tools / "python3", '[ "$1" = -c ] && echo 3.11 || exit 7')
    assert run(clone / "hive", tools, "status").returncode == 7


@pytest.mark.parametrize("words", [("down",), ("--data-dir", "x", "down"), ("uninstall",)], ids=" ".join)
def test_what_ends_a_hive_waits_for_no_installation(words: tuple[str, ...], clone: Path, tools: Path) -> None:
    made(clone)
    (clone / ".venv/.hive-all").unlink()
    program(tools / "python3", "exit 7")
    assert run(clone / "hive", tools, *words).stdout.endswith(f"ran -m hive_cli {' '.join(words)}\n")


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_index_that_is_not_reached_is_said(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "__pycache__", "docs", "bench"))
    away = {**os.environ, "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1", "PIP_NO_CACHE_DIR": "1"}
    done = subprocess.run([clone / "hive", "status"], env=away, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip did not reach its index" in done.stderr


def test_test_has_a_stamp_of_its_own(clone: Path, tools: Path) -> None:
    made(clone)
    program(tools / "python3", '[ "$1" = -c ] && echo 3.11 || { echo "$@"; exit 7; }')
    assert "--extra test" in run(clone / "hive", tools, "test").stdout


@pytest.mark.system
@pytest.mark.timeout(400)
def test_a_clean_clone_installs_itself_and_an_interrupted_install_is_finished(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "HIVE_"))}
    command = [str(clone / "hive"), "--version"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "finding" in line or "downloading" in line:
                break
        first.terminate()
        assert "it goes on from here" in first.stderr.read()
    assert first.returncode == 130
    assert not (clone / ".venv" / ".hive-all").exists()
    second = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (0, "hyperhive, version 0.1.0\n")
    assert (clone / "services/dashboard/hive_dashboard/static/vendor/htmx.min.js").exists()
    third = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert third.stderr == ""
