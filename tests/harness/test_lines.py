import asyncio

from hive_harness.lines import CHUNK, lines


def read(data: bytes, *, limit: int) -> list[str]:
    async def main() -> list[str]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return [line async for line in lines(stream, limit=limit)]

    return asyncio.run(main())


def test_lines_come_whole_whatever_their_length() -> None:
    long = "x" * (5 * CHUNK)
    assert read(f"a\n\n{long}\nlast".encode(), limit=10 * CHUNK) == ["a", "", long, "last"]


def test_a_line_over_the_limit_is_cut_and_the_next_is_whole() -> None:
    assert read(b"y" * (3 * CHUNK) + b"\nnext\n", limit=100) == ["y" * 100, "next"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert read(b"caf\xff\n", limit=100) == ["caf�"]
