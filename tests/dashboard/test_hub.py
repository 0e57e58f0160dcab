"""The ring that feeds open pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from hive_dashboard import hub as hub_module
from hive_dashboard.hub import RING_FRAMES, WATCHED, Cursor, Hub, encode


def run(scenario: Callable[[Hub], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await scenario(Hub())

    asyncio.run(main())


async def started(hub: Hub, topic: str, cursor: Cursor | None) -> AsyncIterator[bytes]:
    stream = hub.follow(topic, cursor)
    assert (await anext(stream)).startswith(b"retry:")
    return stream


def test_a_client_gets_what_comes_after_its_cursor_and_nothing_else() -> None:
    async def scenario(hub: Hub) -> None:
        hub.publish("home", "a", "before")
        stream = await started(hub, "home", hub.cursor("home"))
        hub.publish("home", "b", "after")
        hub.publish("elsewhere", "c", "other")
        chunk = await anext(stream)
        assert b"after" in chunk
        assert b"before" not in chunk
        assert b"other" not in chunk

    run(scenario)


def test_events_of_a_moment_come_in_one_piece() -> None:
    async def scenario(hub: Hub) -> None:
        stream = await started(hub, "home", hub.cursor("home"))
        for number in range(5):
            hub.publish("home", "a", str(number))
        assert (await anext(stream)).count(b"event: a\n") == 5

    run(scenario)


def test_a_client_that_reconnects_resumes_after_the_last_event_it_had() -> None:
    async def scenario(hub: Hub) -> None:
        cursor = hub.cursor("home")
        for number in range(3):
            hub.publish("home", "a", f"text {number}")
        chunk = await anext(await started(hub, "home", cursor))
        last = [line for line in chunk.decode().splitlines() if line.startswith("id: ")][1].removeprefix("id: ")
        again = await anext(await started(hub, "home", Cursor.parse(last)))
        assert b"text 2" in again
        assert b"text 1" not in again

    run(scenario)


def test_a_client_that_fell_behind_the_ring_is_told_once_to_start_anew() -> None:
    async def scenario(hub: Hub) -> None:
        stream = await started(hub, "home", hub.cursor("home"))
        for number in range(WATCHED * RING_FRAMES + 1):
            hub.publish("home", "a", str(number))
        assert await anext(stream) == hub_module.RESET
        hub.publish("home", "a", "later")
        hub.close()
        assert [chunk async for chunk in stream] == []

    run(scenario)


def test_a_ring_is_bounded_in_bytes_too() -> None:
    async def scenario(hub: Hub) -> None:
        stream = await started(hub, "home", hub.cursor("home"))
        for _ in range(WATCHED + 2):
            hub.publish("home", "a", "x", weight=hub_module.RING_BYTES)
        assert await anext(stream) == hub_module.RESET

    run(scenario)


def test_a_ring_that_nobody_reads_keeps_less() -> None:
    async def scenario(hub: Hub) -> None:
        cursor = hub.cursor("home")
        for number in range(RING_FRAMES + 1):
            hub.publish("home", "a", str(number))
        assert await anext(await started(hub, "home", cursor)) == hub_module.RESET

    run(scenario)


def test_news_do_not_wake_a_page_that_was_told_to_start_anew() -> None:
    async def scenario(hub: Hub) -> None:
        lost = await started(hub, "home", None)
        assert await anext(lost) == hub_module.RESET
        awake = await started(hub, "home", hub.cursor("home"))
        waiting = asyncio.ensure_future(_rest(lost))
        for number in range(3):
            hub.publish("home", "a", f"n{number}")
            assert f"n{number}".encode() in await anext(awake)
        hub.close()
        assert await waiting == []

    run(scenario)


def test_a_cursor_of_a_former_process_or_none_means_reset() -> None:
    async def scenario(hub: Hub) -> None:
        for cursor in (Cursor("0badcafe", 3), None, Cursor.parse("nonsense"), Cursor.parse("x.-1")):
            assert await anext(await started(hub, "home", cursor)) == hub_module.RESET

    run(scenario)


def test_a_frame_is_rendered_once_for_many_clients_and_never_for_none() -> None:
    async def scenario(hub: Hub) -> None:
        rendered: list[str] = []

        def render() -> str:
            rendered.append("once")
            return "text"

        cursor = hub.cursor("home")
        streams = [await started(hub, "home", cursor) for _ in range(20)]
        hub.publish("home", "a", render)
        hub.publish("nobody looks", "a", render)
        for stream in streams:
            assert b"text" in await anext(stream)
        assert rendered == ["once"]

    run(scenario)


def test_a_stalled_client_costs_the_others_nothing() -> None:
    async def scenario(hub: Hub) -> None:
        cursor = hub.cursor("home")
        stalled = await started(hub, "home", cursor)
        awake = await started(hub, "home", cursor)
        for number in range(3):
            hub.publish("home", "a", f"n{number}")
            assert f"n{number}".encode() in await anext(awake)
        assert (await anext(stalled)).count(b"event:") == 3

    run(scenario)


def test_closing_ends_every_stream() -> None:
    async def scenario(hub: Hub) -> None:
        stream = await started(hub, "home", hub.cursor("home"))
        waiting = asyncio.ensure_future(_rest(stream))
        await asyncio.sleep(0)
        assert hub.clients == 1
        hub.close()
        assert await waiting == []
        assert hub.clients == 0

    run(scenario)


async def _rest(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in stream]


def test_an_idle_stream_is_kept_alive() -> None:
    async def scenario(_: Hub) -> None:
        hub = Hub(keep_alive_s=0.01)
        stream = await started(hub, "home", hub.cursor("home"))
        assert await anext(stream) == b": keep-alive\n\n"

    run(scenario)


def test_every_line_of_a_fragment_is_a_data_line() -> None:
    assert encode("a", "one\r\ntwo\n\nthree") == b"event: a\ndata: one\ndata: two\ndata: \ndata: three\n\n"


def test_clients_at_the_same_place_share_one_piece() -> None:
    async def scenario(hub: Hub) -> None:
        cursor = hub.cursor("home")
        streams = [await started(hub, "home", cursor) for _ in range(3)]
        hub.publish("home", "a", "text")
        first, *others = [await anext(stream) for stream in streams]
        assert all(chunk is first for chunk in others)
        hub.publish("home", "b", "more")
        assert b"event: b" in await anext(streams[0])
        late = await anext(await started(hub, "home", cursor))
        assert late.count(b"event:") == 2

    run(scenario)
