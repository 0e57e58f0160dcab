"""A folder in the agent's state directory, where an engine may have put anything: no link is followed, a file is whole
or absent whenever the process is killed, and at most so much of one is read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PARTIAL: Final = ".partial"


class Folder:
    """`parts` below `root`; made on first use. Every method raises `OSError`, also where a link stands in the way."""

    def __init__(self, root: Path, *parts: str) -> None:
        self._root = root
        self._parts = parts

    def write(self, name: str, content: bytes, *, durable: bool, shared: bool = False) -> None:
        """Replace the file at once. `durable`: what was there before is gone only when this is on the disk.

        `shared`: the engine may write it too, where it is another user.
        """
        with self._open() as folder:
            fresh = f".{name}{PARTIAL}"
            _remove(folder, fresh)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(fresh, flags, 0o660 if shared else 0o640, dir_fd=folder), "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)

    def read(self, name: str, *, limit: int) -> bytes | None:
        """The first `limit` bytes; None when there is no such file, or something else of that name."""
        with self._open() as folder:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            except OSError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                return file.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def sizes(self) -> dict[str, int]:
        """Name → bytes, of everything in it, by name."""
        with self._open() as folder:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - by descriptor
            return {name: os.lstat(name, dir_fd=folder).st_size for name in names}

    def remove(self, name: str) -> None:
        """Nothing to do when there is none."""
        with self._open() as folder:
            _remove(folder, name)

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in self._parts:
                parent, descriptor = descriptor, _enter(descriptor, part)
                os.close(parent)
            yield descriptor
        finally:
            os.close(descriptor)


def _enter(parent: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o750, dir_fd=parent)  # the engine may be another user, of the state directory's group
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
