"""What an agent in bubblewrap cannot do, tried from inside; and that each try works once what keeps it is off."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hive_contracts.models import Network
from hive_supervisor.runtimes import bubblewrap
from hive_supervisor.runtimes.base import ContainerSpec

pytestmark = pytest.mark.system

ID_BASE: Final = 0x6100_0000
WITHIN_S: Final = 20

TRIES: Final = """
import ctypes, json, os, pathlib, socket, sys
aims = json.loads(sys.argv[1])

def mount():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")

actions = {
    "see a process of the host": lambda: os.stat(f"/proc/{aims['pid']}"),
    "read another agent's state": lambda: pathlib.Path(aims["diary"]).read_text(),
    "see the host's /tmp": lambda: os.stat(aims["in_tmp"]),
    "write what it may read": lambda: pathlib.Path(aims["readable"], "written").write_text("x"),
    "mount": mount,
    "reach the machine's loopback": lambda: socket.create_connection(("127.0.0.1", aims["port"]), timeout=5).close(),
}

def tried(action):
    try:
        action()
    except OSError as error:
        return f"refused: {error.strerror}"
    return "done"

print(json.dumps({name: tried(action) for name, action in actions.items()}))
"""

Words = list[str]


@dataclass(frozen=True)
class Place:
    """A folder as a hive has one, with another agent in it, and what a hostile agent may be after."""

    base: Path
    spec: ContainerSpec
    aims: str

    def tried(self, off: Callable[[Words, "Place"], Words] = lambda words, _: words) -> dict[str, str]:
        program = [sys.executable, "-c", TRIES, self.aims]
        words = off(bubblewrap.command(self.spec, program, accounts_dir=self.base), self)
        done = subprocess.run(words, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if reason := bubblewrap.why_not() or ("" if os.geteuid() == 0 else "only root gives agents users of their own"):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    base = Path("/var/tmp") / tmp_path_factory.mktemp("escape").name
    own, other, readable = base / "ada", base / "lin", base / "readable"
    for folder in (own / "state", own / "run", other, readable):
        folder.mkdir(parents=True)
    readable.chmod(0o777)
    (other / "diary").write_text("private")
    marker = Path("/tmp") / f"hive-escape-{os.getpid()}"
    marker.touch()
    pythons = [Path(p) for p in dict.fromkeys((sys.prefix, sys.base_prefix)) if not p.startswith("/usr")]
    spec = ContainerSpec(
        name="ada",
        state_dir=own / "state",
        run_dir=own / "run",
        log_file=base / "ada.log",
        id_base=ID_BASE,
        network=Network.NONE,
        readable=(*pythons, readable),
    )
    bubblewrap.write_accounts(spec, base)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        aims = {
            "pid": os.getpid(),
            "diary": str(other / "diary"),
            "in_tmp": str(marker),
            "readable": str(readable),
            "port": listener.getsockname()[1],
        }
        yield Place(base, spec, json.dumps(aims))
    marker.unlink()
    subprocess.run(["rm", "-rf", str(base)], check=True)


def without(option: str) -> Callable[[Words, Place], Words]:
    return lambda words, _: [word for word in words if word != option]


def _replaced(words: Words, former: Sequence[str], latter: Sequence[str]) -> Words:
    at = next(n for n in range(len(words)) if words[n : n + len(former)] == list(former))
    return [*words[:at], *latter, *words[at + len(former) :]]


def _as_root(words: Words, _: Place) -> Words:
    """Without what makes it an ordinary user: all between bwrap's own words and the program."""
    end = words.index("--")
    return [*words[: end + 1], *words[words.index("--", end + 1) + 1 :]]


OFF: Final[dict[str, Callable[[Words, Place], Words]]] = {
    "see a process of the host": without("--unshare-pid"),
    "read another agent's state": lambda words, place: _replaced(
        words, ["--chdir"], ["--ro-bind", str(place.base / "lin"), str(place.base / "lin"), "--chdir"]
    ),
    "see the host's /tmp": lambda words, _: _replaced(words, ["--tmpfs", "/tmp"], ["--bind", "/tmp", "/tmp"]),
    "write what it may read": lambda words, place: _replaced(
        words, ["--ro-bind", str(place.base / "readable")], ["--bind", str(place.base / "readable")]
    ),
    "mount": _as_root,
    "reach the machine's loopback": without("--unshare-net"),
}


@pytest.fixture(scope="module")
def inside(place: Place) -> dict[str, str]:
    return place.tried()


@pytest.mark.parametrize("attempt", OFF)
def test_it_is_refused(inside: dict[str, str], attempt: str) -> None:
    assert inside[attempt].startswith("refused")


@pytest.mark.parametrize("attempt", OFF)
def test_without_the_protection_it_can(place: Place, attempt: str) -> None:
    assert place.tried(OFF[attempt])[attempt] == "done"
