"""Completion in the shells themselves: what TAB gives in each, by a name on the PATH and by a path to a checkout."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.fake_api import fake_api

WITHIN_S = 30
NAMES = ("hive", "./hive")
"""As whom it is called: by the PATH, or in a checkout, when there is none on the PATH."""

Complete = Callable[[str], set[str]]
"""The words that one may go on with."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with `hive`, whose hive has the agent ada."""
    program = tmp_path / "hive"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hive_cli "$@"\n')
    program.chmod(0o755)
    with fake_api(tmp_path / "data") as api:
        api.answers["GET", "/api/v1/agents"] = (200, {"agents": [{"name": "ada"}]})
        yield tmp_path


def environ(place: Path, name: str) -> dict[str, str]:
    path = f"{place}:{os.environ['PATH']}" if name == "hive" else "/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(place), "HIVE_DATA_DIR": str(place / "data"), "TERM": "dumb", "PS1": "> "}


def needed(shell: str) -> str:
    found = shutil.which(shell)
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{shell} is missing: apt install {shell}")
    return str(found)


def said(place: Path, name: str, *words: str) -> list[str]:
    done = subprocess.run(words, cwd=place, env=environ(place, name), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_bash(place: Path, name: str) -> Complete:
    shell = needed("bash")

    def complete(line: str) -> set[str]:
        words = f"COMP_WORDS=({line}{chr(34) * 2 if line.endswith(' ') else ''})"
        asked = f'eval "$({name} completion bash)"; {words}; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))'
        asked += f'; _hive_completion {name}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return set(said(place, name, shell, "--norc", "-c", asked))

    return complete


def in_fish(place: Path, name: str) -> Complete:
    shell = needed("fish")

    def complete(line: str) -> set[str]:
        asked = f"{name} completion fish | source; complete -C {shlex.quote(line)}"
        found = said(place, name, shell, "--no-config", "-c", asked)
        return {one.partition("\t")[0] for one in found}

    return complete


@pytest.mark.slow
@pytest.mark.parametrize("shell", [in_bash, in_fish], ids=["bash", "fish"])
def test_verbs_options_values_and_agents_are_completed(
    place: Path, name: str, shell: Callable[[Path, str], Complete]
) -> None:
    complete = shell(place, name)
    assert complete(f"{name} sta") == {"start", "stats", "status"}
    assert complete(f"{name} stop a") == {"ada"}
    assert complete(f"{name} up --ru") == {"--runtime"}
    assert {"docker", "process"} <= complete(f"{name} up --runtime ")


class Zsh:
    """On a terminal, for it completes nowhere else."""

    def __init__(self, place: Path, name: str) -> None:
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [needed("zsh"), "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=place, env=environ(place, name), start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._shown = b""
        self.type(f'autoload -Uz compinit && compinit -D; eval "$({name} completion zsh)"; echo re""ady\n', "\nready")

    def type(self, text: str, until: str) -> None:
        """Returns once it shows `until`."""
        os.write(self._terminal, text.encode())
        self._shown = b""
        end = time.monotonic() + WITHIN_S
        while until.encode() not in self._shown:
            ready = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"{text!r} showed {self._shown.decode(errors='replace')!r}"
            self._shown += os.read(self._terminal, 65536)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.mark.slow
def test_zsh_completes_the_same(place: Path, name: str) -> None:
    zsh, anew = Zsh(place, name), "\x15"
    try:
        zsh.type(f"{name} stat\t\t", "stats ")
        zsh.type(f"{anew}{name} stop a\t", f"{name} stop ada")
        zsh.type(f"{anew}{name} up --ru\t", "--runtime")
        zsh.type(f"{anew}{name} up --runtime proc\t", "--runtime process")
    finally:
        zsh.end()
