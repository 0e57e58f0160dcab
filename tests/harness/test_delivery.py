"""What a message may ask of its delivery, and messages that the broker took away again."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.messages import MessageRefused
from hive_contracts.turns import TurnEnded, TurnJoined, TurnStarted, TurnToolResult
from hive_runtime.bus import Ack, Batch, Bus
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_bus import RedisBus, connect

Scenario = Callable[[Outside, Bus], Awaitable[None]]


def _beside_a_harness(tmp_path: Path, scenario: Scenario, **settings: float) -> None:
    async def run() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(tmp_path, **settings), bus):
            await scenario(world, bus)

    asyncio.run(run())


def test_a_message_that_does_not_wake_is_taken_up_with_the_next_that_does(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        quiet = [await world.deliver(f"!say never {number}", context_only=True) for number in range(2)]
        waking = await world.deliver("hello")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok"
        assert ended["messages"] == [waking, *quiet]
        (started,) = world.events(TurnStarted)
        assert started.messages == (waking,)
        assert started.prompt.index("never 0") < started.prompt.index("never 1") < started.prompt.index("hello")
        assert started.prompt.count("did not wake you") == 2
        assert [joined.messages for joined in world.events(TurnJoined)] == [tuple(quiet)]
        await world.at_rest()
        assert await bus.depth(streams.inbox(AGENT)) == 0
        assert [send.body for send in world.sent] == ["echo: hello"]

    _beside_a_harness(tmp_path, scenario)


def test_what_did_not_wake_stays_with_a_turn_that_is_tried_again(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        quiet = await world.deliver("by the way", context_only=True)
        waking = await world.deliver("!fail overloaded")
        for _ in range(2):
            assert (await world.turn_end())["messages"] == [waking, quiet]

    _beside_a_harness(tmp_path, scenario)


def test_a_message_whose_acknowledgement_a_killed_server_lost_is_not_run_again(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        await world.deliver("!send bob once")
        ended = await world.turn_end()
        await world.at_rest()
        await bus.append(streams.inbox(AGENT), world.delivered[0])
        again = await world.until(of_type(TurnEnded.TYPE))
        assert again.payload(TurnEnded).turn_id == ended["turn_id"], "the same end is told again"

        async def done() -> bool:
            return await bus.depth(streams.inbox(AGENT)) == 0

        await eventually(done)
        await world.deliver("!say next")
        await world.turn_end()
        assert len(world.events(TurnStarted)) == 2
        assert [send.body for send in world.sent] == ["once"]

    _beside_a_harness(tmp_path, scenario)


def test_a_second_copy_of_what_is_in_a_turn_is_acknowledged_and_not_taken_up(tmp_path: Path) -> None:
    """The broker found it gone from the inbox, and delivered it again."""

    async def scenario(world: Outside, bus: Bus) -> None:
        first = await world.deliver('!call recv {"wait_seconds": 30, "max": 5}')
        await world.until(of_type(TurnStarted.TYPE))
        await bus.append(streams.inbox(AGENT), world.delivered[0])
        next_one = await world.deliver("!say next")
        assert (await world.turn_end())["messages"] == [first, next_one]

        async def done() -> bool:
            return await bus.depth(streams.inbox(AGENT)) == 0

        await eventually(done)
        assert len(world.events(TurnStarted)) == 1

    _beside_a_harness(tmp_path, scenario)


def test_what_is_read_together_with_what_is_no_message_is_taken_up(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        first = await world.deliver('!call recv {"wait_seconds": 30, "max": 5}')
        await world.until(of_type(TurnStarted.TYPE))
        await bus.append(streams.inbox(AGENT), Envelope(source="nobody", type="nothing"))
        next_one = await world.deliver("!say next")
        assert (await world.turn_end())["messages"] == [first, next_one]

    _beside_a_harness(tmp_path, scenario)


def test_a_broadcast_is_marked_in_the_prompt(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        await world.deliver("news", sender="ada", broadcast=True)
        await world.turn_end()
        (started,) = world.events(TurnStarted)
        assert "This message went to every agent; it may need no answer." in started.prompt

    _beside_a_harness(tmp_path, scenario)


def test_an_agent_sends_to_everyone_and_without_waking(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        await world.deliver('!send * to all\n!call send {"to": "bob", "body": "fyi", "context_only": true}')
        await world.turn_end()
        assert [(send.to, send.context_only) for send in world.sent] == [("*", False), ("bob", True)]

    _beside_a_harness(tmp_path, scenario)


@pytest.mark.slow
def test_a_message_that_was_given_up_is_not_run_again(tmp_path: Path) -> None:
    """The broker takes it out of the inbox between two tries."""

    async def scenario(world: Outside, bus: Bus) -> None:
        bad = await world.deliver("!fail error")
        await world.turn_end()
        entry = await bus.last_id(streams.inbox(AGENT))
        await bus.write(Batch(acks=[Ack(streams.inbox(AGENT), streams.GROUP_HARNESS, [entry], delete=True)]))
        await world.deliver("next")
        await world.until(lambda event: event.type == TurnEnded.TYPE and event.data["outcome"] == "ok")
        assert [started.messages[0] for started in world.events(TurnStarted)].count(bad) == 1

    _beside_a_harness(tmp_path, scenario, retry_first_s=0.5, retry_limit_s=0.5)


def test_a_refusal_says_whether_to_try_later_or_to_stop(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        said = {}
        for code, retry in (("too_fast", True), ("inbox_full", True), ("loop_guard", False), ("refused", True)):
            world.refuse = lambda send, code=code, retry=retry: MessageRefused(  # type: ignore[misc]
                sender=AGENT, to=send.to, code=code, reason="no", retry=retry
            )
            await world.deliver("!send bob hi")
            await world.until(of_type(TurnToolResult.TYPE))
            said[code] = world.events(TurnToolResult)[-1].text
            await world.turn_end()
        assert said["too_fast"] == said["inbox_full"] == "no. Try the same call again later."
        assert said["loop_guard"] == "no. Trying again will not help."
        assert said["refused"] == "no. Try again with other arguments."

    _beside_a_harness(tmp_path, scenario)


def test_the_messages_of_a_long_turn_are_never_idle_for_long(tmp_path: Path, redis: RedisServer) -> None:
    """What was idle for long belongs to a dead harness: an hour is made up here, and the heartbeat ends it."""
    an_hour_ms = 3_600_000
    stream, group = streams.inbox(AGENT), streams.GROUP_HARNESS

    async def main() -> None:
        bus = RedisBus(redis.address, load_functions=True)
        admin: Any = connect(redis.address)
        try:
            async with outside(bus) as world, running(config_for(tmp_path, heartbeat_s=0.05), bus):
                await world.deliver("!bash while [ ! -e go ]; do sleep 0.02; done")
                await world.until(of_type("turn.tool_call"))
                (before,) = await admin.xpending_range(stream, group, "-", "+", 10)
                await admin.xclaim(stream, group, AGENT, 0, [before["message_id"]], idle=an_hour_ms, justid=True)

                async def beats() -> bool:
                    (now,) = await admin.xpending_range(stream, group, "-", "+", 10)
                    assert now["times_delivered"] == before["times_delivered"]
                    return bool(now["time_since_delivered"] < an_hour_ms)

                await eventually(beats)
                (tmp_path / "state/go").touch()
                assert (await world.turn_end())["outcome"] == "ok"
        finally:
            await admin.aclose()
            await bus.aclose()

    asyncio.run(main())


def test_a_send_may_be_urgent(tmp_path: Path) -> None:
    async def scenario(world: Outside, bus: Bus) -> None:
        await world.deliver('!call send {"to": "bob", "body": "fire", "urgent": true}')
        await world.turn_end()
        assert [(send.to, send.urgent) for send in world.sent] == [("bob", True)]

    _beside_a_harness(tmp_path, scenario)
