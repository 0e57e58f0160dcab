"""Lines out of a byte stream, however long: asyncio's own `readline` fails on one over its limit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

CHUNK: Final = 64 * 1024
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


async def lines(stream: asyncio.StreamReader, *, limit: int = MAX_LINE_BYTES) -> AsyncIterator[str]:
    """Each line without its end; of a line over `limit` bytes only the first `limit` of them."""
    line = bytearray()
    while chunk := await stream.read(CHUNK):
        first, *rest = chunk.split(b"\n")
        _extend(line, first, limit)
        for part in rest:
            yield line.decode("utf-8", "replace")
            line = bytearray()
            _extend(line, part, limit)
    if line:
        yield line.decode("utf-8", "replace")


def _extend(line: bytearray, part: bytes, limit: int) -> None:
    line += part[: max(0, limit - len(line))]
