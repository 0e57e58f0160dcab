"""Facts about processes that Python does not offer: dying with the parent, hiding memory, telling two alike apart."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_CAPABILITY_VERSION: Final = 0x20080522

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    _checked(_LIBC.prctl(option, value, 0, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends `number` to the child when the parent's thread ends, however it ends."""
    parent = os.getpid()

    def set_signal() -> None:
        _prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return set_signal


def hide_memory() -> None:
    """No process of the same user may read this one's memory, environment or open files (PR_SET_DUMPABLE)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def keep_capabilities_to_itself() -> None:
    """What this process may do beyond its user is not handed on to those it starts: it is not inheritable any more."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    masks = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    _checked(_LIBC.capget(header, masks))
    masks[2] = masks[5] = 0
    _checked(_LIBC.capset(header, masks))  # what is not inheritable cannot be ambient


def open_as_many_files_as_it_may() -> None:
    """The usual limit is 1,024: few for who has connections and stores of a thousand agents."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def start_time(pid: int) -> str | None:
    """When `pid` started, in the kernel's ticks; None when it is gone. With the pid it names one process for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def has_ended(pid: int) -> bool:
    """Whether it is gone, or ended and was not waited for: an orphan's new parent may never do that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (OSError, IndexError):
        return True
