"""A real host with systemd and D-Bus for tests: a Debian booted by systemd-nspawn.

Its root is an overlay in memory over a cached tree, so what a test does to it is gone afterwards. Only `scratch` is a
real directory, with the same path inside and outside: put there what must lie on a disk (the upper directory of another
overlay must). The checkout and this Python are there, read-only, under the paths that they have outside, so
`host.run(sys.executable, "-m", "hive_cli", …)` is this hyperhive. The network is loopback alone.

Everything lives in namespaces of the process that `systemd_host` starts; when that ends, however it ends, they end.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.debian_roots import derived_root
from tests.support.processes import alive, command_line, descendants
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = (
    "systemd",
    "systemd-sysv",
    "systemd-container",
    "dbus",
    "python3",
    "git",
    "bubblewrap",
    "procps",
    "kmod",
)
BOOT_S: Final = 120
STOP_S: Final = 30
RUN_S: Final = 60
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NAMESPACES: Final = ("unshare", "--mount", "--propagation=private", "--mount-proc", "--pid", "--kill-child=KILL")
_BOOT: Final = """
set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
shift 2
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class SystemdHost:
    """`leader` is its process 1 as seen from outside."""

    leader: int
    scratch: Path
    console: Path

    @property
    def root(self) -> Path:
        """Its root directory, from outside."""
        return Path(f"/proc/{self.leader}/root")

    @property
    def bus_address(self) -> str:
        """Its system bus, from outside."""
        return f"unix:path={self.root}/run/dbus/system_bus_socket"

    def command(self, *command: str) -> list[str]:
        """The words that run `command` inside, as root."""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return [*enter, "env", "-i", f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8", *command]

    def run(
        self, *command: str, check: bool = True, timeout_s: float = RUN_S, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it inside to its end. Raises `AssertionError` with what it said, unless `check` is off."""
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=timeout_s, check=False, **options
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start it inside; the caller ends it, else it is killed with the host."""
        return subprocess.Popen(self.command(*command), **options)


@contextmanager
def systemd_host(*options: str) -> Iterator[SystemdHost]:
    """A booted host; `options` go to systemd-nspawn. Skips, or fails under `CI=true`, where this machine cannot."""
    if reason := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    root = host_root()
    with tempfile.TemporaryDirectory(prefix="hive-host-") as folder:
        place = Path(folder)
        scratch, overlay = place / "scratch", place / "overlay"
        scratch.mkdir(mode=0o755)
        overlay.mkdir()
        place.chmod(0o755)
        machine = f"h{place.name.rpartition('-')[2].replace('_', '')}"
        started = _start(root, overlay, machine, [f"--bind={scratch}", *options], place / "console")
        try:
            yield _booted(started, scratch, place / "console")
        finally:
            _end(started)
            _forget(machine)


def why_not() -> str:
    """Why no host can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "a systemd host is booted as root; run the tests as root"
    needed = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "unshare": "util-linux"}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (on Debian: apt install {' '.join(missing)})" if missing else ""


def host_root() -> Path:
    """The cached tree that hosts are booted from."""
    return derived_root("host", PACKAGES, _finish)


def _finish(root: Path) -> None:
    """Nothing that waits for a network; a home of root that others may pass through, as this Python may lie there."""
    for unit in ("systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer"):
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("")
    (root / "root").chmod(0o755)
    shutil.rmtree(root / "var/cache/apt/archives")
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)


def _start(root: Path, overlay: Path, machine: str, options: Sequence[str], console: Path) -> subprocess.Popen[bytes]:
    # fmt: off
    nspawn = [
        "systemd-nspawn", "--quiet", f"--directory={overlay}/root", f"--machine={machine}", "--boot",
        "--register=no", "--keep-unit", "--private-network", "--console=pipe",
        "--capability=all", "--system-call-filter=@keyring bpf perf_event_open",
        *(f"--bind-ro={path}" for path in _readable()), *options,
    ]
    # fmt: on
    command = [*_NAMESPACES, "sh", "-c", _BOOT, "boot", str(overlay), str(root), *nspawn]
    with console.open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )


def _readable() -> list[Path]:
    """This checkout, and the Python that runs it, where that is not the host's own."""
    paths = dict.fromkeys((ROOT, Path(sys.prefix), Path(sys.base_prefix)))
    return [path for path in paths if path == ROOT or not any(path.is_relative_to(top) for top in (ROOT, "/usr"))]


def _booted(started: subprocess.Popen[bytes], scratch: Path, console: Path) -> SystemdHost:
    def failed(reason: str) -> AssertionError:
        return AssertionError(f"the host {reason}: {console.read_text(errors='replace')[-2000:]}")

    def leader() -> int | None:
        if started.poll() is not None:
            raise failed(f"did not boot (exit status {started.returncode})")
        return _first(started.pid, "systemd")

    try:
        wait_until(leader, within_s=BOOT_S)
        host = SystemdHost(leader() or 0, scratch, console)
        wait_until(lambda: leader() and _answers(host), within_s=BOOT_S)
        host.run("systemctl", "is-system-running", "--wait", check=False, timeout_s=BOOT_S)
    except TimeoutError as error:
        raise failed("did not come up") from error
    return host


def _first(started: int, name: str) -> int | None:
    """The process of that name below `started` that is process 1 of a namespace."""
    for pid in descendants(started):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if facts["Name"] == name and facts["NSpid"].split()[-1] == "1":
            return pid
    return None


def _answers(host: SystemdHost) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(host.bus_address.removeprefix("unix:path="))
        except OSError:
            return False
    return True


def _end(started: subprocess.Popen[bytes]) -> None:
    """Shut the host down as one would; what does not follow is killed with the namespace it lives in."""
    everything = descendants(started.pid)
    if nspawn := _first(started.pid, "systemd-nspawn"):
        _let_go(_first(started.pid, "systemd"))
        os.kill(nspawn, signal.SIGTERM)
    try:
        started.wait(STOP_S if nspawn else 0)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    wait_until(lambda: not any(map(alive, everything)), within_s=STOP_S)


def _let_go(leader: int | None) -> None:
    """End what entered the host from outside: systemd stops every process before it ends them, and `nsenter` then stops
    too, for ever, and so does not reap its child, without which no process 1 can go."""
    entered = {
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if command_line(int(path.name)).startswith(f"nsenter --target={leader} ")
    }
    everything = set().union(*map(descendants, entered))
    for pid in everything:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, everything)), within_s=STOP_S)


def _forget(machine: str) -> None:
    """What nspawn leaves behind."""
    for path in (Path("/run/systemd/nspawn/propagate", machine), Path("/run/systemd/nspawn/unix-export", machine)):
        if path.is_dir():
            path.rmdir()
