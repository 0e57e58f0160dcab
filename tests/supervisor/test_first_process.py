"""The shell around a harness, as a process of its own."""

import signal
import subprocess

import pytest

from hive_supervisor.runtimes.first_process import script

POLITE = "trap 'exit 0' TERM; echo started; while :; do sleep 1 & wait $!; done"


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", script(), "first", *command], stdout=subprocess.PIPE)


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 127", 127)])
def test_it_ends_as_what_it_runs(command: str, status: int) -> None:
    with started("sh", "-c", command) as first:
        assert first.wait(20) == status


def test_a_stop_is_heard_at_any_time_and_its_status_is_the_programs() -> None:
    """The signal comes as soon as the program has said a word: often before the shell has gone on."""
    for _ in range(40):
        with started("sh", "-c", POLITE) as first:
            assert first.stdout
            first.stdout.readline()
            first.send_signal(signal.SIGTERM)
            first.stdout.close()
            assert first.wait(20) == 0


def test_what_it_runs_hears_an_interrupt() -> None:
    ignored = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    with started("python3", "-c", ignored) as first:
        assert first.stdout
        assert first.stdout.read() == b"False\n"
