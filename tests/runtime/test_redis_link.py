"""While the server is away one of a process asks, everyone waits, and the log has one line at each change."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.support.waiting import until

from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_link import RedisLink


class Server:
    """Refuses until it is `up`."""

    def __init__(self, *, up: bool) -> None:
        self.up = up
        self.asked = 0
        self.at_once = 0
        self._asking = 0

    async def ping(self) -> None:
        self.asked += 1
        self._asking += 1
        self.at_once = max(self.at_once, self._asking)
        await asyncio.sleep(0)
        self._asking -= 1
        if not self.up:
            raise BusUnavailable("Redis does not answer: refused")


def test_a_thousand_who_wait_ask_one_at_a_time_and_say_so_once() -> None:
    async def scenario() -> None:
        server = Server(up=False)
        link = RedisLink(server.ping)
        waiting = [asyncio.ensure_future(link.until_back()) for _ in range(1000)]
        await until(lambda: server.asked >= 4)
        assert not any(task.done() for task in waiting)
        asked_before, server.up = server.asked, True
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert server.at_once == 1
        assert server.asked <= asked_before + 2

    with capture_logs() as lines:
        asyncio.run(scenario())
    assert [line["event"] for line in lines] == ["redis is away", "redis answers again"]


def test_when_it_answers_at_once_nothing_is_said() -> None:
    async def scenario() -> None:
        link = RedisLink(Server(up=True).ping)
        await link.until_back()

    with capture_logs() as lines:
        asyncio.run(scenario())
    assert lines == []


def test_when_the_one_who_asks_is_cancelled_another_goes_on() -> None:
    async def scenario() -> None:
        server = Server(up=False)
        link = RedisLink(server.ping)
        first, second = (asyncio.ensure_future(link.until_back()) for _ in range(2))
        await until(lambda: server.asked)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.up = True
        await asyncio.wait_for(second, 10)

    asyncio.run(scenario())


def test_an_answer_from_before_does_not_count() -> None:
    async def scenario() -> None:
        server = Server(up=True)
        link = RedisLink(server.ping)
        await link.until_back()
        await link.until_back()
        assert server.asked == 2

    asyncio.run(scenario())
