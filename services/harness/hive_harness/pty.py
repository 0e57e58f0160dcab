"""A shell on a pseudo-terminal, as the engine's user: what `terminal` shows the operator.

The harness holds the master's end only: bytes. It never makes the terminal its own, so nothing in it can send the
harness a signal or type for it. The shell leads a session of its own; the kernel ends it with the harness.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hive_contracts.errors import Unavailable
from hive_harness.engine import as_user
from hive_runtime.process import die_with_parent

SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/run/current-system/sw/bin/bash", "/bin/sh")
TYPED: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP)
CLOSE_S: Final = 1.0
"""How long what runs in it has after SIGHUP, in seconds."""


class Pty:
    """`read` and `write` never block: they wait in the loop. Not for concurrent use of the same one of them."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master

    @classmethod
    async def start(cls, *, columns: int, lines: int, env: Mapping[str, str], cwd: Path, uid: int | None) -> "Pty":
        """Raises `Unavailable`."""
        master = slave = -1
        try:
            master, slave = os.openpty()
            os.set_blocking(master, False)
            _resize(master, columns, lines)
            process = await _spawn(slave, env=env, cwd=cwd, uid=uid)
        except OSError as error:
            if master >= 0:
                os.close(master)
            raise Unavailable(f"no terminal can be opened in the container: {error.strerror}") from error
        finally:
            if slave >= 0:
                os.close(slave)
        return cls(process, master)

    async def read(self, size: int) -> bytes:
        """What is shown next; empty when all that had it open is gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._master, size)
            except BlockingIOError:
                await _ready(loop.add_reader, loop.remove_reader, self._master)
            except OSError:  # EIO: nobody has the other end open
                return b""

    async def write(self, data: bytes) -> None:
        """What nobody reads in the end is lost with the terminal."""
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await _ready(loop.add_writer, loop.remove_writer, self._master)
            except OSError:
                return

    def resize(self, columns: int, lines: int) -> None:
        with contextlib.suppress(OSError):
            _resize(self._master, columns, lines)

    async def close(self) -> str:
        """End all that runs in it; how the shell ended."""
        os.close(self._master)  # SIGHUP for whoever has it as its terminal
        status = await self._gone()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        return "the shell ended" if status == 0 else f"the shell ended with {self._process.returncode}"

    async def _gone(self) -> int | None:
        try:
            async with asyncio.timeout(CLOSE_S):
                return await self._process.wait()
        except TimeoutError:
            return None


async def _spawn(slave: int, *, env: Mapping[str, str], cwd: Path, uid: int | None) -> asyncio.subprocess.Process:
    shell = _shell()
    die = die_with_parent(signal.SIGKILL)

    def prepare() -> None:
        die()
        for number in TYPED:  # what a script starts with `&` hears none of them, nor does what that starts
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    return await asyncio.create_subprocess_exec(
        shell,
        "-i",
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env={**env, "TERM": "xterm-256color", "SHELL": shell},
        start_new_session=True,
        umask=0o022,
        **as_user(uid),
        preexec_fn=prepare,
    )


def _shell() -> str:
    return next((path for path in SHELLS if Path(path).exists()), "/bin/sh")


def _resize(master: int, columns: int, lines: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


async def _ready(add: Callable[..., None], remove: Callable[[int], bool], descriptor: int) -> None:
    """Returns when the loop says that the descriptor can be read, or written."""
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
