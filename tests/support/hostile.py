"""What a hostile container tries, as its root. Runs inside, on its Python alone; prints one line of JSON.

`TRIES` of the environment: a JSON object with the places that the tries are aimed at.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

AIMS: dict[str, Any] = json.loads(os.environ["TRIES"])
LIBC = ctypes.CDLL(None, use_errno=True)
FINIT_MODULE = {"x86_64": 313, "aarch64": 273}[os.uname().machine]
MS_BIND = 4096


def tried(action: Callable[[], object]) -> str:
    """`done`, or why not."""
    try:
        action()
    except OSError as error:
        return f"refused: {error.strerror}"
    return "done"


def system(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def load_a_module() -> None:
    """Of a file that is none. Who may load modules is told that, or that this kernel has none; others are not."""
    descriptor = os.memfd_create("module")
    os.write(descriptor, b"no module")
    result = LIBC.syscall(FINIT_MODULE, descriptor, b"", 0)
    if result == -1 and ctypes.get_errno() not in {errno.ENOEXEC, errno.EINVAL, errno.ENOSYS}:
        system(result)


def make_a_device() -> None:
    os.seteuid(AIMS["writer"])
    try:
        os.mknod("/state/disk", stat.S_IFBLK | 0o666, os.makedev(*AIMS["disk"]))
    finally:
        os.seteuid(0)


def mount_something() -> None:
    system(LIBC.mount(b"/tmp", b"/srv", None, MS_BIND, None))


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def connect_to_port(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def find_process(words: str) -> None:
    for place in ("/proc", "/mnt/proc"):
        for path in Path(place).glob("[0-9]*/cmdline"):
            if path.read_bytes().replace(b"\0", b" ").strip() == words.encode():
                return
    raise FileNotFoundError(2, "no such process")


def leave_a_program() -> None:
    """One that runs as its owner, whoever starts it."""
    if AIMS["writer"]:
        os.seteuid(AIMS["writer"])
    try:
        Path("/state/id").write_bytes(Path("/usr/bin/id").read_bytes())
        Path("/state/id").chmod(0o4755)
    finally:
        os.seteuid(0)


def status(key: str) -> str:
    return dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())[key].strip()


TRIES: dict[str, Callable[[], object]] = {
    "read a file of the machine's": lambda: Path(AIMS["secret"]).read_bytes(),
    "write a file of the machine's": lambda: Path(AIMS["secret"]).open("a").close(),
    "read the hive's data": lambda: Path(AIMS["hive"]).read_bytes(),
    "read another agent's state": lambda: list(Path(AIMS["other"]).iterdir()),
    "write another agent's state": lambda: Path(AIMS["other"], "note").touch(),
    "write the system": lambda: Path("/usr/bin/left").touch(),
    "load a module": load_a_module,
    "make a device": make_a_device,
    "mount": mount_something,
    "see a process of the machine's": lambda: find_process(AIMS["process"]),
    "reach the dashboard": lambda: connect_to_port(AIMS["port"]),
    "reach docker": lambda: connect(AIMS["docker"]),
    "reach the machine's D-Bus": lambda: connect(AIMS["bus"]),
    "set the kernel's core pattern": lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
    "change its name": lambda: socket.sethostname("other"),
    "leave a program that runs as its owner": leave_a_program,
}

FACTS = {
    "uid": os.getuid(),
    "no new privileges": status("NoNewPrivs"),
    "capabilities": status("CapBnd"),
    "seccomp": status("Seccomp"),
    "open files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}
sys.stdout.write(json.dumps({name: tried(action) for name, action in TRIES.items()} | FACTS) + "\n")
