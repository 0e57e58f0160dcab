"""`python -m hive_harness` as a process, with its own Redis user, killed and stopped at bad moments."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.support.agent_rig import AGENT, PATIENCE_S, Outside, of_type, outside
from tests.support.harness_process import PASSWORD, HarnessProcess, gone
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.turns import TurnStarted, TurnToolResult
from hive_runtime.backoff import persist
from hive_runtime.redis_bus import RedisBus

pytestmark = pytest.mark.system

Story = Callable[[Outside], Awaitable[None]]


def play(redis: RedisServer, story: Story) -> None:
    async def main() -> None:
        async with world_of(redis) as world:
            await story(world)

    asyncio.run(main())


@asynccontextmanager
async def world_of(redis: RedisServer) -> AsyncIterator[Outside]:
    bus = RedisBus(redis.address, load_functions=True)
    try:
        async with outside(bus) as world:
            yield world
    finally:
        await bus.aclose()


def test_it_works_with_the_rights_of_an_agent_and_keeps_its_password_to_itself(
    harness: HarnessProcess, redis: RedisServer
) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        harnesses_memory = "cat /proc/$(awk '/^PPid/ {print $2}' /proc/$PPID/status)/environ"
        head = await world.deliver(f"!call whoami\n!bash env; ls -a\n!bash {harnesses_memory}")
        assert (await world.turn_end())["messages"] == [head]
        await world.at_rest()
        assert not harness.password_file.exists()
        _, own, harnesses = [result.text for result in world.events(TurnToolResult)]
        assert "HIVE_" not in own
        assert PASSWORD not in harnesses
        assert await world.bus.depth(streams.inbox(AGENT)) == 0

    play(redis, story)


def test_killed_in_a_turn_it_runs_the_message_again_and_sends_once(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        head = await world.deliver("!send bob once\n!bash mkdir first && sleep 600\n!say over")
        await world.until(lambda event: event.type == "turn.tool_call" and event.data["name"] == "Bash")
        engines, commands = harness.engines(), harness.children()
        assert harness.end(signal.SIGKILL) == -signal.SIGKILL
        await gone(engines)
        harness.start()
        await gone(commands)
        ended = await world.turn_end()
        assert (ended["outcome"], ended["messages"]) == ("ok", [head])
        assert world.events(TurnStarted)[-1].redelivered
        await world.at_rest()
        assert len(world.keys) == 2
        assert len(set(world.keys)) == 1

    play(redis, story)


def test_told_to_stop_in_a_turn_it_ends_at_once_with_its_engine(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        await world.deliver("!say begun\n!hang")
        await world.until(of_type("turn.text"))
        engines = harness.engines()
        assert len(engines) == 1
        assert await asyncio.to_thread(harness.end, signal.SIGTERM) == 0
        await gone(engines)
        assert (await world.turn_end())["outcome"] == "interrupted"
        assert await world.bus.depth(streams.inbox(AGENT)) == 1

    play(redis, story)


def test_told_to_stop_it_lets_a_turn_end_that_is_about_to(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start(HIVE_HARNESS_STOP_GRACE_S="30")
        await world.deliver("!bash until test -e enough; do sleep 0.05; done\n!say done")
        await world.until(lambda event: event.type == "turn.tool_call" and event.data["name"] == "Bash")
        assert harness.process
        harness.process.send_signal(signal.SIGTERM)
        (harness.state / "enough").touch()
        assert await asyncio.to_thread(harness.process.wait, PATIENCE_S) == 0
        assert (await world.turn_end())["outcome"] == "ok"
        assert await world.bus.depth(streams.inbox(AGENT)) == 0

    play(redis, story)


def test_what_is_logged_of_a_turn_names_its_message(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        for body in ("!say one", "!say two"):
            head = await world.deliver(body)
            assert (await world.turn_end())["messages"] == [head]
            lines = [json.loads(line) for line in harness.log.read_text().splitlines()]
            assert {line["agent"] for line in lines if line["event"] == "turn started"} == {AGENT}
            (begun,) = [line for line in lines if line["event"] == "turn started" and line["message"] == head]
            assert begun["trace"]

    play(redis, story)


def test_a_killed_engine_is_started_again(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start(HIVE_HARNESS_RETRY_FIRST_S="0.01")
        await world.deliver("!say begun\n!bash mkdir once && sleep 600\n!say done")
        await world.until(of_type("turn.tool_call"))
        for pid in harness.children():
            os.kill(pid, signal.SIGKILL)
        assert (await world.turn_end())["reason"].endswith("killed by SIGKILL")
        assert (await world.turn_end())["outcome"] == "ok"

    play(redis, story)


def test_a_killed_redis_is_waited_for_in_the_middle_of_a_turn(harness: HarnessProcess, redis: RedisServer) -> None:
    async def story(world: Outside) -> None:
        harness.start()
        head = await world.deliver("!say begun\n!bash while [ ! -e go ]; do sleep 0.02; done\n!say done")
        await world.until(of_type("turn.tool_call"))
        await asyncio.to_thread(redis.kill)
        (harness.state / "go").touch()
        await asyncio.to_thread(redis.start)
        assert (await persist(world.turn_end))["messages"] == [head]
        await persist(world.at_rest)

    play(redis, story)


def test_a_broken_environment_is_one_sentence_and_the_exit_status_that_says_so(harness: HarnessProcess) -> None:
    harness.start(HIVE_HARNESS_TURN_LIMIT_S="-1")
    assert harness.process
    assert harness.process.wait(timeout=PATIENCE_S) == 78
    (line,) = harness.log.read_text().splitlines()
    assert "HIVE_HARNESS_TURN_LIMIT_S is not valid" in line
