"""From a container's spec to one `bwrap` command line.

The agent sees a read-only system, its own /state and nothing else of the machine's files; its own process ids; the
machine's network (an engine must reach its model). Started by root, the harness runs as one ordinary user, with what it
needs to start and to end an engine as another: CAP_SETUID, CAP_SETGID and CAP_KILL. What an engine starts has none.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hive_contracts.models import Network
from hive_supervisor.runtimes.base import ContainerSpec

PROBE_TIMEOUT_S: Final = 10

STATE: Final = Path("/state")
RUN: Final = Path("/run/hive")
HARNESS: Final = Path("/var/lib/hive")
REDIS_SOCKET: Final = Path("/run/redis/redis.sock")

ACCOUNT_FILES: Final = ("passwd", "group")
_SHELL: Final = "/bin/bash"
_ETC: Final = ("ssl", "ca-certificates", "pki", "resolv.conf", "hosts", "nsswitch.conf", "localtime", "ld.so.cache")
_HARNESS_CAPABILITIES: Final = ("setuid", "setgid", "kill")
_NAMESPACES: Final = {
    "user": "--user",
    "mnt": "--mount",
    "pid": "--pid",
    "ipc": "--ipc",
    "uts": "--uts",
    "net": "--net",
}
_TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def command(spec: ContainerSpec, program: Sequence[str], *, accounts_dir: Path) -> list[str]:
    """`program` inside the sandbox that `spec` describes; `spec.run_dir` becomes /run/hive."""
    # fmt: off
    words = [
        "bwrap", "--die-with-parent", "--new-session",
        "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", spec.name,
        *(["--unshare-net"] if spec.network is Network.NONE else []),
        *_system(),
        "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",  # noqa: S108 - the sandbox's own
        "--bind", str(spec.state_dir), str(STATE), "--symlink", f"{STATE}/agents"[1:], "/agents",
        "--perms", "0755", "--dir", str(RUN.parent), "--bind", str(spec.run_dir), str(RUN),
    ]
    # fmt: on
    if spec.harness_dir:
        words += [*_ways_to(HARNESS), "--bind", str(spec.harness_dir), str(HARNESS)]
    for path in spec.readable:
        words += [*_ways_to(path), "--ro-bind", str(path), str(path)]
    for name in ACCOUNT_FILES:
        words += ["--ro-bind", str(accounts_dir / name), f"/etc/{name}"]
    if spec.redis_socket:
        words += [*_ways_to(REDIS_SOCKET), "--ro-bind", str(spec.redis_socket.parent), str(REDIS_SOCKET.parent)]
    return [*words, "--chdir", str(STATE), "--", *as_user(spec.uid, spec.harness_uid), *program]


def enter(pid: int, uid: int | None, command: Sequence[str]) -> list[str]:
    """`command` in the sandbox of the process `pid`, as the user `uid`, without any capability."""
    others = [option for name, option in _NAMESPACES.items() if _namespace(pid, name) != _namespace("self", name)]
    same_user = ["--preserve-credentials"] if uid is None else []
    return ["nsenter", "--target", str(pid), *others, *same_user, "--wd", "--", *as_user(uid), *command]


def write_accounts(spec: ContainerSpec, accounts_dir: Path) -> None:
    """The sandbox's passwd and group: many tools refuse to run as a user without a name."""
    uid = os.geteuid() if spec.uid is None else spec.uid
    people = {0: f"root:x:0:0:root:/:{_SHELL}", uid: f"{spec.name}:x:{uid}:{uid}::{STATE}/home:{_SHELL}"}
    groups = {0: "root:x:0:", uid: f"{spec.name}:x:{uid}:"}
    if harness := spec.harness_uid:
        people[harness] = f"hive-harness:x:{harness}:{harness}::{HARNESS}:/usr/sbin/nologin"
        groups[harness] = f"hive-harness:x:{harness}:"
    accounts_dir.mkdir(exist_ok=True, mode=0o755)
    for name, lines in zip(ACCOUNT_FILES, (people, groups), strict=True):
        (accounts_dir / name).write_text("".join(f"{line}\n" for line in lines.values()))
        (accounts_dir / name).chmod(0o644)


def why_not() -> str:
    """Why bubblewrap cannot be used here; empty when it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (package bubblewrap)"
    probe = ["bwrap", "--unshare-pid", *_system(), "--proc", "/proc", "--dev", "/dev", "--", *as_user(_probe_uid())]
    try:
        done = subprocess.run([*probe, "true"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run here: {error}"
    return "" if done.returncode == 0 else f"bubblewrap does not run here: {done.stderr.strip().splitlines()[-1:]}"


def _namespace(pid: int | str, name: str) -> str:
    """What names it; empty when the process is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/{name}").readlink())
    except OSError:
        return ""


def _probe_uid() -> int | None:
    return 65_534 if os.geteuid() == 0 else None


def as_user(uid: int | None, harness_uid: int | None = None) -> list[str]:
    """What becomes that user before it runs a program: `uid` without any capability, or the harness with its few.

    The harness is of the engine's group, so that it can enter the agent's /state.
    """
    if uid is None:
        return []
    user, kept = str(harness_uid or uid), ""
    groups = ["--clear-groups"]
    if harness_uid:
        kept, groups = "".join(f",+{name}" for name in _HARNESS_CAPABILITIES), ["--groups", str(uid)]
    # fmt: off
    return [
        "setpriv", "--reuid", user, "--regid", user, *groups, "--no-new-privs",
        f"--inh-caps=-all{kept}", f"--ambient-caps=-all{kept}", f"--bounding-set=-all{kept}", "--",
    ]
    # fmt: on


def _ways_to(path: Path) -> Iterator[str]:
    """The folders above `path`, open to everyone: bwrap would make them for root alone."""
    for parent in reversed(path.parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))


def _system() -> Iterator[str]:
    """A read-only /usr with the links that point into it, and what of /etc a network client needs."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TOP:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--perms", "0755", "--dir", "/etc")
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
