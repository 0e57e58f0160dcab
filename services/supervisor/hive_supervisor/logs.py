"""Agents' logs within bounds: what containers print is cut when it is too much, its newest part kept beside it.

Every back-end appends to one file, so it is cut in place, under whoever writes. A line that is written in just that
moment may be lost. NixOS' containers print into the journal, which bounds itself.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from hive_supervisor.runtimes.log_tail import earlier

LOOK_S: Final = 2.0
"""Between two looks at the sizes, in seconds."""

_PIECE: Final = 1024 * 1024
_LOG: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

log = structlog.get_logger()


class LogBounds:
    """`folder` holds the agents' logs; one of them and its earlier part take `most` bytes together."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._half = most // 2

    async def run(self) -> None:
        """Look every `LOOK_S` seconds, until cancelled."""
        while True:
            await asyncio.to_thread(self.hold)
            await asyncio.sleep(LOOK_S)

    def hold(self) -> None:
        """Cut every log that is over its half."""
        for path in self._folder.glob("*.log"):
            try:
                if path.lstat().st_size > self._half:
                    cut(path, keep=self._half)
                    log.info("log was cut", file=path.name, kept=earlier(path).name)
            except OSError as error:
                log.warning("log is not cut", file=path.name, reason=error.strerror)


def cut(path: Path, *, keep: int) -> None:
    """Move the last `keep` bytes of what is in it to its earlier part, and empty it. Raises `OSError`."""
    descriptor = os.open(path, _LOG)
    try:
        size = os.fstat(descriptor).st_size
        copy = os.open(earlier(path), _COPY, 0o600)
        try:
            place = max(0, size - keep)
            while place < size and (piece := os.pread(descriptor, min(_PIECE, size - place), place)):
                os.write(copy, piece)
                place += len(piece)
        finally:
            os.close(copy)
            os.ftruncate(descriptor, 0)  # also on a full disk: that is when it must not grow
    finally:
        os.close(descriptor)
