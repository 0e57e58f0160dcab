"""`python -m hive_harness` as a process, with its own Redis user, killed and stopped at bad moments."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.support.agent_rig import AGENT, PATIENCE_S, Outside, of_type, outside
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.turns import TurnStarted, TurnToolResult
from hive_runtime.acl import agent_rules, agent_user
from hive_runtime.backoff import persist
from hive_runtime.redis_bus import RedisBus

pytestmark = pytest.mark.system

PASSWORD = "agents-own"

Story = Callable[[Outside], Awaitable[None]]


class HarnessProcess:
    """Starts harnesses of one agent in turn, in one state directory."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.password_file = directory / "password"
        self.log = directory / "harness.log"
        self._redis = redis
        self.process: subprocess.Popen[bytes] | None = None
        self.state.mkdir()

    def start(self, **environment: str) -> None:
        self.password_file.write_text(PASSWORD)
        own = {
            "PATH": os.environ["PATH"],
            "HIVE_AGENT_NAME": AGENT,
            "HIVE_ENGINE": "scripted",
            "HIVE_STATE_DIR": str(self.state),
            "HIVE_RUN_DIR": str(self.directory / "run"),
            "HIVE_REDIS_URL": self._redis.address.url,
            "HIVE_REDIS_USER": agent_user(AGENT),
            "HIVE_REDIS_PASSWORD_FILE": str(self.password_file),
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "hive_harness"]
            self.process = subprocess.Popen(command, env=own | environment, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        """Send the signal and wait; no longer than a container waits for its harness."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(timeout=3)

    def engines(self) -> list[int]:
        """Pids of the scripted engines of this state directory."""
        return [pid for pid in _pids() if _runs_in(pid, self.state) and b"hive_harness.scripted" in _command(pid)]

    def children(self) -> list[int]:
        """Pids of everything that runs in this state directory."""
        return [pid for pid in _pids() if _runs_in(pid, self.state)]


@pytest.fixture
def harness(tmp_path: Path, redis: RedisServer) -> Iterator[HarnessProcess]:
    admin: Any = Redis.from_url(redis.address.url, username="admin", password=redis.address.password)
    admin.execute_command("ACL", "SETUSER", agent_user(AGENT), *agent_rules(AGENT, PASSWORD))
    admin.execute_command("ACL", "SAVE")
    admin.close()
    found = HarnessProcess(tmp_path, redis)
    yield found
    if found.process and found.process.poll() is None:
        found.process.kill()
        found.process.wait()


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
        assert (await world.turn_end())["outcome"] == "cancelled"
        assert await world.bus.depth(streams.inbox(AGENT)) == 1

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


async def gone(pids: list[int]) -> None:
    """Returns when none of them runs."""
    async with asyncio.timeout(PATIENCE_S):
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(handle, ended.set)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _runs_in(pid: int, directory: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve() == directory.resolve()
    except OSError:
        return False
