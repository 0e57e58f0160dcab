"""Running what builds an image: root's programs, in namespaces of their own.

Whatever they mount and start is gone when they end, and when the builder is killed: `unshare` dies with it, and its
namespaces with `unshare`.
"""

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from hive_runtime.process import die_with_parent
from hive_supervisor.images.errors import BuildFailed

Report = Callable[[str], None]
"""Told what is being done now, in a few words."""

TAIL_LINES: Final = 4
_NAMESPACES: Final = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL")
_ENTER: Final = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
_PASSED_ON: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(command: Sequence[str], *, report: Report, name: str = "") -> None:
    """`report` gets each line. Raises `BuildFailed` with the last ones and `name`, which is that of the program."""
    _follow([*_NAMESPACES, "--mount-proc", *command], name or command[0], report, os.environ)


def run_in(root: Path, command: Sequence[str], *, report: Report) -> None:
    """The same with `root` as the root directory. `root` must be trusted: this is no jail."""
    environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    own = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
    _follow([*_NAMESPACES, "sh", "-c", _ENTER, str(root), *command], command[0], report, environ | own)


def _follow(command: Sequence[str], name: str, report: Report, environ: Mapping[str, str]) -> None:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        text=True,
        errors="replace",
        preexec_fn=die_with_parent(signal.SIGKILL),
    ) as process:
        try:
            for line in process.stdout or ():
                if text := line.strip():
                    tail.append(text)
                    report(text)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BuildFailed(f"{name} failed (exit status {process.returncode}): {' / '.join(tail)}")
