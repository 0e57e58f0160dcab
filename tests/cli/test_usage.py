"""What is wrong on a command line is said in one sentence, with exit code 2, before anything is asked or done."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run
from hive_cli.app import COMMANDS
from hive_cli.errors import REFUSED

MISTAKES = """
frobnicate
up --port http
up --port 70000
up --engine gpt
up --runtime vm
up extra
status extra
status --data-dir ''
agents --jsn
spawn
spawn Ada
spawn ../ada
spawn operator
spawn ada --engine gpt
spawn ada --effort enormous
spawn ada --policy maybe
spawn ada --restart sometimes
spawn ada --recipients Bob
start
start ''
stop 'ada;rm'
restart ADA
rebuild
rebuild ada --all
rebuild --all --turn-wait soon
pause ''
pause ada --all
resume
resume Ada
cancel a/b
nap ada -1
nap ada 0
nap ada soon
wake é
compact Ada
new-session Ada
login Ada
model Ada
model ada opus --clear
destroy Ada --yes
revive
revive Ada
kept extra
send
send ada
send Ada hello
send ada ''
inbox Ada
inbox --limit 0
inbox --limit many
trace
dead-letters --limit 0
alerts dismiss
alerts forget flood-ada
redrive
approvals --limit 501
approval
approve
deny
questions --limit 0
answer
answer q-1
answer q-1 ''
cancel-question
stats
stats Ada
logs
logs broker -n -1
retention --dry-run --last
watch --interval 0
watch --interval often
backup
backup /nowhere/at/all/x.tar.gz
backup x.tar.gz --passphrase-file /dev/null
restore
restore x.tar.gz --passphrase-file /nowhere
doctor --runtime vm
completion
completion tcsh
image build --from /nowhere
image prune --keep 0
image remove
install --systemd extra
uninstall extra
secret set
secret set 'a b'
token create
token create phone --days 0
token revoke
setup codex
debug chaos --agents 1
debug soak --minutes 0
""".strip().splitlines()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Callable[..., int]:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_asked(
    line: str, api: FakeApi, hive: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert hive(*shlex.split(line)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip()) > 10
    assert "Traceback" not in told.err
    assert api.asked == []


def test_every_verb_has_a_mistake_in_the_table() -> None:
    without_arguments = {"down", "sign-in", "audit", "test", "drafts", "config", "rollback", "terminal"}
    tried = {line.split()[0] for line in MISTAKES}
    assert set(COMMANDS) - tried - without_arguments == set()


def test_ctrl_c_while_it_is_still_loading_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "hive_cli", "status"]
    away = {**os.environ, "PYTHONPATH": str(tmp_path)}
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whatever this process was told to ignore
    done = subprocess.run(command, env=away, capture_output=True, text=True, check=False, preexec_fn=heeds)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_closed_pipe_ends_it_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        command = [sys.executable, "-m", "hive_cli", "--help"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["doctor", "--list", "--json"]])
def test_output_for_which_there_is_no_room_is_told_in_a_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "hive_cli", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == REFUSED
    assert done.stderr == "hive: there is no room for what is to be written; free some and run this again\n"
