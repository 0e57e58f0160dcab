"""kill -9 of the harness or of its engine at every step of a turn: afterwards the message was handled once, and the
state is true."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
from tests.harness.test_process import world_of
from tests.support.agent_rig import AGENT, Outside
from tests.support.harness_process import HarnessProcess, gone
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import AgentState
from hive_contracts.control import CancelTurn, NapAgent, PauseAgent
from hive_contracts.envelope import Envelope, Payload

pytestmark = pytest.mark.system

STEPS = "!sleep 0.1\n!send bob once\n!sleep 0.1\n!bash sleep 0.2\n!call recv\n!say nearly\n!sleep 0.1"

Predicate = Callable[[Envelope], bool]
Story = Callable[[Outside], Awaitable[None]]


def _kind(wanted: str) -> Predicate:
    return lambda event: event.type == wanted


def _call(name: str) -> Predicate:
    return lambda event: event.type == "turn.tool_call" and event.data["name"].endswith(name)


def _state(name: str) -> Predicate:
    return lambda event: event.data.get("state", {}).get("state") == name


POINTS: dict[str, Predicate] = {
    "the harness is idle": _state("idle"),
    "the turn has begun": _kind("turn.started"),
    "the engine starts": _kind("turn.note"),
    "a message is sent": _call("send"),
    "its answer is there": _kind("turn.tool_result"),
    "a command runs": _call("Bash"),
    "further messages are drained": _call("recv"),
    "the last word": _kind("turn.text"),
    "the end is told": _kind("turn.ended"),
}


def tell(redis: RedisServer, story: Story) -> None:
    async def main() -> None:
        async with world_of(redis) as world:
            await story(world)

    asyncio.run(main())


async def settled(world: Outside) -> AgentState:
    """The state in the hash, once nothing waits and no turn runs."""
    found: list[AgentState] = []

    async def at_rest() -> bool:
        text = (await world.bus.hash_all(streams.state(AGENT))).get(streams.STATE_FIELD)
        found[:] = [AgentState.model_validate_json(text)] if text else []
        return bool(
            found
            and found[0].turn_id is None
            and found[0].last_turn
            and not await world.bus.depth(streams.inbox(AGENT))
        )

    await eventually(at_rest)
    return found[0]


async def live(world: Outside) -> list[Envelope]:
    """Everything in the live stream, each event once."""
    reader = world.bus.reader()
    try:
        entries = await reader.read_after({streams.live(AGENT): "0-0"}, count=10_000, block_ms=0)
    finally:
        await reader.aclose()
    return list({event.id: event for event in (Envelope.decode(entry.fields) for entry in entries)}.values())


@pytest.mark.parametrize("victim", ["harness", "engine"])
@pytest.mark.parametrize("point", POINTS)
def test_whatever_is_killed_when_the_message_is_handled_once(
    harness: HarnessProcess, redis: RedisServer, point: str, victim: str
) -> None:
    async def story(world: Outside) -> None:
        harness.start(HIVE_HARNESS_RETRY_FIRST_S="0.01")
        head = await world.deliver(STEPS)
        joined = await world.deliver("joined", sender="bob")
        await world.until(POINTS[point])
        if victim == "harness":
            engines = harness.engines()
            await asyncio.to_thread(harness.end, signal.SIGKILL)
            await gone(engines)
            harness.start(HIVE_HARNESS_RETRY_FIRST_S="0.01")
        else:
            for pid in harness.engines():
                os.kill(pid, signal.SIGKILL)
        state = await settled(world)
        ended = [event.data for event in await live(world) if event.type == "turn.ended"]
        well = [message for end in ended if end["outcome"] == "ok" for message in end["messages"]]
        assert sorted(well) == sorted([head, joined])
        assert len(set(world.keys)) == 1
        assert state.state == "idle"
        assert state.last_turn
        assert state.last_turn.outcome == "ok"

    tell(redis, story)


@pytest.mark.parametrize("command", [CancelTurn(), NapAgent(seconds=3600), PauseAgent()], ids=lambda one: one.TYPE)
def test_killed_while_it_is_told_something_it_does_it_once_or_says_that_it_may_not_have(
    harness: HarnessProcess, redis: RedisServer, command: Payload
) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        head = await world.deliver("!say begun\n!bash while [ ! -e go ]; do sleep 0.02; done")
        await world.until(_call("Bash"))
        asked = await world.command(command)
        await asyncio.to_thread(harness.end, signal.SIGKILL)
        harness.start()
        answer = await world.answer(asked)
        (harness.state / "go").touch()

        async def state() -> str:
            states = [event.data["state"]["state"] for event in await live(world) if event.type == "state.changed"]
            return str(states[-1])

        async def settled() -> bool:
            """Either the command had no effect, and the message is done, or it had: then it says so by its state."""
            return await world.bus.depth(streams.inbox(AGENT)) == 0 or await state() == "napping"

        async def paused() -> bool:
            return await state() == "paused"

        if answer.type == "command.failed":
            assert "give it again if not" in answer.data["reason"]
        elif command.TYPE == "agent.cancel":
            assert answer.data["result"]["messages"] == [head]
        if command.TYPE == "agent.pause":
            assert answer.type == "command.done"
            await eventually(paused)
        elif answer.type == "command.failed" or command.TYPE == "agent.cancel":
            await eventually(settled)
        answers = {event.id for event in await live(world) if event.correlation_id == asked}
        assert len(answers) == 1

    tell(redis, story)
