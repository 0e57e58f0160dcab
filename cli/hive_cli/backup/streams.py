"""The keys of Redis in one file: for each its name, the time it still has, and what the server dumped."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from hive_contracts.errors import Refused
from hive_runtime.redis_dump import Dumped, RedisDump, dump_all

_HEAD: Final = struct.Struct(">IQQ")
"""Lengths of name and value, and milliseconds between."""

_PREFIX: Final = b"hive:"


async def write_streams(dump: RedisDump, path: Path) -> int:
    """The number of keys."""
    count = 0
    with path.open("wb") as file:
        async for batch in dump_all(dump):
            for one in batch:
                file.write(_HEAD.pack(len(one.key), one.ttl_ms, len(one.value)))
                file.write(one.key)
                file.write(one.value)
                count += 1
    return count


def read_streams(path: Path) -> Iterator[Dumped]:
    """Raises `Refused` for a file that is none, or that holds other keys than a hive's."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            if len(head) < _HEAD.size:
                raise _broken()
            name, ttl_ms, value = _HEAD.unpack(head)
            key = _read(file, name)
            if not key.startswith(_PREFIX):
                raise _broken()
            yield Dumped(key, ttl_ms, _read(file, value))


def _read(file: IO[bytes], length: int) -> bytes:
    found = file.read(length)
    if len(found) < length:
        raise _broken()
    return found


def _broken() -> Refused:
    return Refused("the streams in this backup are not whole; nothing was changed. Take another backup")
