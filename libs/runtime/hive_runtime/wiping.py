"""Removing what an agent left on disk. It belongs to a stranger: no file in it is opened, no link in it is followed.

Folders may lie in each other as deep as they like: each is moved up to the top before it is emptied, so that neither
paths nor open descriptors grow with the depth.
"""

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hive_contracts.errors import Unavailable

MOUNTS: Final = Path("/proc/self/mountinfo")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNT_POINT: Final = 4
"""Which word of a line of `MOUNTS`."""


def wipe(path: Path) -> None:
    """The file, or the folder with all that is in it; nothing to do when there is none.

    Raises `Unavailable` when something stays, as when another process just put a file into it: to be repeated. What is
    mounted in it is somebody else's: then nothing is removed, until it is unmounted.
    """
    if mounted := _mounted_in(path):
        raise Unavailable(f"{path} is not removed, for {mounted} is mounted in it; unmount that")
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        with _folder(path) as top:
            _empty(top)
        path.rmdir()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Unavailable(f"{path} is not removed: {error.strerror}") from error


def _empty(top: int) -> None:
    """`top` is a descriptor of the folder."""
    numbers = itertools.count()
    while entries := _entries(top):
        for name, is_folder in entries:
            if not is_folder:
                os.unlink(name, dir_fd=top)
                continue
            with _folder(name, within=top) as inner:
                _move_up(inner, top, numbers)
            os.rmdir(name, dir_fd=top)


def _move_up(inner: int, top: int, numbers: Iterator[int]) -> None:
    """What is in `inner`: files go, folders are moved to `top`, each under a name that is free there."""
    for name, is_folder in _entries(inner):
        if not is_folder:
            os.unlink(name, dir_fd=inner)
            continue
        with _folder(name, within=inner):
            pass  # to be moved, it must be writable itself
        while True:
            try:
                os.rename(name, f".wiped-{next(numbers)}", src_dir_fd=inner, dst_dir_fd=top)
                break
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise


def _entries(folder: int) -> list[tuple[str, bool]]:
    with os.scandir(folder) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]


@contextmanager
def _folder(name: str | Path, *, within: int | None = None) -> Iterator[int]:
    """Its descriptor. An ordinary user may have left a folder of its own that not even it may enter."""
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=within)
    except PermissionError:
        _open_up(name, within)
        descriptor = os.open(name, _FOLDER, dir_fd=within)
    try:
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_up(name: str | Path, within: int | None) -> None:
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        Path(f"/proc/self/fd/{found}").chmod(stat.S_IRWXU)
    finally:
        os.close(found)


def _mounted_in(path: Path) -> str:
    """A mount at or below `path`; empty when there is none, or where nobody can tell."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return ""
    place = path.parent.resolve() / path.name
    points = (Path(os.fsdecode(_unescaped(line.split()[_MOUNT_POINT]))) for line in lines)
    return next((str(point) for point in points if point.is_relative_to(place)), "")


def _unescaped(word: bytes) -> bytes:
    """Blanks and the like stand there as a backslash and three octal digits."""
    return word.decode("unicode_escape").encode("latin-1")
