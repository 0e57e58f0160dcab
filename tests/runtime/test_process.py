"""Facts of the kernel's: who dies with whom, who is who, who may look."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hive_runtime.process import start_time

PARENT = """
    import os, signal, subprocess, sys
    from hive_runtime.process import die_with_parent
    child = subprocess.Popen(["sleep", "60"], preexec_fn=die_with_parent(signal.SIGTERM))
    print(child.pid, flush=True)
    child.wait()
"""
SECRETIVE = """
    import ctypes, os, sys
    from hive_runtime.process import hide_memory
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after an exec: a change of user hides memory, too
    if sys.argv[1] == "hide":
        hide_memory()
    print("ready", flush=True)
    sys.stdin.read()
"""
LOOK = """
    import os, sys
    os.setuid(65534)
    pid = sys.argv[1]
    for name in ("environ", "mem", "fd"):
        try:
            os.listdir(f"/proc/{pid}/fd") if name == "fd" else open(f"/proc/{pid}/{name}", "rb").read(1)
            print(name, "seen")
        except PermissionError:
            print(name, "hidden")
        except OSError as error:
            print(name, "seen", error)
"""


@contextmanager
def _python(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", textwrap.dedent(source), *arguments]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_child_goes_when_its_parent_is_killed() -> None:
    with _python(PARENT) as parent:
        pid = int(_line(parent))
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], 0)[0] == []
            parent.kill()
            assert select.select([descriptor], [], [], 10)[0] == [descriptor]
        finally:
            os.close(descriptor)


def test_a_start_time_names_a_process_until_it_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        first = start_time(process.pid)
        assert first is not None
        assert first.isdigit()
        assert start_time(process.pid) == first
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert start_time(process.pid) is None


def test_a_start_time_is_read_past_a_strange_name() -> None:
    with _python("import sys; sys.stdin.read()") as plain:
        source = (
            "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') R 1 (', 0, 0, 0); print(flush=True); sys.stdin.read()"
        )
        with _python(source) as strange:
            _line(strange)
            first, second = start_time(strange.pid), start_time(plain.pid)
            assert first and second
            assert int(first) >= int(second)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of another user; run the tests as root")
def test_hidden_memory_is_hidden_from_the_same_user() -> None:
    for mode, expected in (("show", "seen"), ("hide", "hidden")):
        with _python(SECRETIVE, mode) as secretive:
            assert _line(secretive) == "ready"
            with _python(LOOK, str(secretive.pid)) as looker:
                seen = {name: what for name, what, *_ in (_line(looker).split() for _ in range(3))}
        assert seen["environ"] == expected
        if mode == "hide":
            assert set(seen.values()) == {"hidden"}


def test_a_process_may_open_as_many_files_as_its_hard_limit_says() -> None:
    script = """
        import resource
        from hive_runtime.process import open_as_many_files_as_it_may
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
        open_as_many_files_as_it_may()
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["100", "100"]
