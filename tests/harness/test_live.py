import asyncio
import json

from tests.support.agent_rig import AGENT
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.turns import TurnText
from hive_harness.live import MAX_WAITING, LivePublisher
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_bus import RedisBus


def text(number: int) -> TurnText:
    return TurnText(turn_id="t-1", seq=number, text=str(number))


def test_events_survive_a_killed_server_in_order_and_once(redis: RedisServer) -> None:
    async def main() -> list[int]:
        bus = RedisBus(redis.address)
        live = LivePublisher(bus, AGENT)
        writer = asyncio.ensure_future(live.run())
        for number in range(200):
            if number == 100:
                await asyncio.to_thread(redis.kill)
            live.publish(text(number))
            await asyncio.sleep(0)
        await asyncio.to_thread(redis.start)
        await live.settled()
        writer.cancel()
        reader = bus.reader()
        entries = await reader.read_after({streams.live(AGENT): "0"}, count=1000, block_ms=100)
        await reader.aclose()
        await bus.aclose()
        unique = {entry.fields["id"]: entry for entry in entries}
        return [json.loads(entry.fields["data"])["seq"] for entry in unique.values()]

    assert asyncio.run(main()) == list(range(200))


def test_whoever_makes_many_events_waits_while_none_can_be_written() -> None:
    async def main() -> None:
        live = LivePublisher(MemoryBus(), AGENT)
        for number in range(MAX_WAITING):
            await live.room()
            live.publish(text(number))
        waiting = asyncio.ensure_future(live.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        writer = asyncio.ensure_future(live.run())
        async with asyncio.timeout(10):
            await waiting
            await live.settled()
        writer.cancel()

    asyncio.run(main())
