"""Commands over the control stream: done once, answered, acknowledged last, whatever happens in between."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.conftest import Scenario
from tests.support.agent_rig import AGENT, config_for, of_type, outside, running
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import AgentStateChanged, CommandDone, CommandFailed
from hive_contracts.control import STALE_S, PauseAgent, ResumeAgent
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import Refused
from hive_contracts.turns import TurnStarted
from hive_harness.carried_out import KEPT, CarriedOut
from hive_harness.control import Control
from hive_harness.live import LivePublisher
from hive_runtime.bus import Batch, Bus
from hive_runtime.memory_bus import MemoryBus

OnBus = Callable[[Scenario], None]


def test_a_command_is_done_answered_and_acknowledged(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            command = await world.command(PauseAgent())
            answer = await world.answer(command)
            assert answer.type == CommandDone.TYPE
            assert world.events(AgentStateChanged)[-1].state.state == "paused"
            await eventually(lambda: nothing_pending(bus))

    on_bus(scenario)


def test_a_paused_agent_keeps_its_queue_until_it_is_resumed(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.told(PauseAgent())
            ids = [await world.deliver(f"!say {number}") for number in range(2)]
            await world.told(ResumeAgent())
            assert world.events(TurnStarted) == []
            assert [(await world.turn_end())["messages"] for _ in ids] == [[one] for one in ids]

    on_bus(scenario)


def test_a_pause_lets_the_running_turn_end(tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!say begun\n!bash while [ ! -e go ]; do sleep 0.02; done")
            await world.until(of_type("turn.tool_call"))
            await world.told(PauseAgent())
            assert world.events(AgentStateChanged)[-1].state.state == "thinking"
            (tmp_path / "state/go").touch()
            assert (await world.turn_end())["outcome"] == "ok"
            await world.until(lambda event: event.data.get("state", {}).get("state") == "paused")

    asyncio.run(scenario(MemoryBus()))


class Counting:
    """A control over any bus, with a command that counts how often it is done."""

    def __init__(self, bus: Bus, directory: Path, *, fails: bool = False) -> None:
        self.live = LivePublisher(bus, AGENT)
        self.control = Control(bus, AGENT, live=self.live, done=CarriedOut(directory))
        self.control.on(PauseAgent, self.count)
        self.fails = fails
        self.count_of = 0

    async def count(self, _command: PauseAgent) -> dict[str, Any]:
        self.count_of += 1
        if self.fails:
            raise Refused("not now")
        return {"count": self.count_of}

    async def __aenter__(self) -> "Counting":
        self._tasks = [asyncio.ensure_future(self.live.run()), asyncio.ensure_future(self.control.run())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


class NeverAcknowledges(MemoryBus):
    """Comes to a halt where a command is acknowledged, as a harness that is killed there."""

    async def write(self, batch: Batch) -> None:
        if any(ack.stream == streams.control(AGENT) for ack in batch.acks):
            await asyncio.Event().wait()
        await super().write(batch)


def test_a_command_whose_acknowledgement_was_lost_is_answered_again_and_not_done_again(tmp_path: Path) -> None:
    async def main() -> None:
        bus = NeverAcknowledges()
        async with outside(bus) as world:
            command = await world.command(PauseAgent())
            async with Counting(bus, tmp_path):
                first = await world.answer(command)
            async with Counting(bus, tmp_path) as later:
                second = await world.answer(command)
                assert later.count_of == 0
            assert (first.id, first.data) == (second.id, second.data)

    asyncio.run(main())


def test_a_command_that_is_written_twice_is_done_once(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, Counting(bus, tmp_path) as counting:
            for _ in range(2):
                await world.answer(await world.command(PauseAgent(), id="the-same"))
            assert counting.count_of == 1

    on_bus(scenario)


def test_a_refusal_is_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, Counting(bus, tmp_path, fails=True):
            answer = await world.answer(await world.command(PauseAgent()))
            assert (answer.type, answer.data["code"], answer.data["reason"]) == (
                CommandFailed.TYPE,
                "refused",
                "not now",
            )

    asyncio.run(main())


def test_a_command_that_lay_for_long_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, Counting(bus, tmp_path) as counting:
            long_ago = datetime.now(UTC) - timedelta(seconds=STALE_S + 1)
            answer = await world.answer(await world.command(PauseAgent(), time=long_ago))
            assert answer.data["code"] == "timed_out"
            assert counting.count_of == 0

    asyncio.run(main())


class FromTheFuture(Payload):
    TYPE = "agent.levitate"


def test_what_is_unknown_or_malformed_is_passed_over(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, Counting(bus, tmp_path):
            await world.command(FromTheFuture())
            await bus.append(streams.control(AGENT), Envelope(source="x", type="message.accepted", data={"id": 1}))
            await world.answer(await world.command(PauseAgent()))
            await eventually(lambda: nothing_pending(bus))

    on_bus(scenario)


def test_only_the_newest_answers_are_remembered_and_a_broken_file_is_none(tmp_path: Path) -> None:
    done = CarriedOut(tmp_path)
    for number in range(KEPT + 1):
        done.keep(str(number), CommandDone(command="agent.pause"))
    again = CarriedOut(tmp_path)
    assert again.answer_to("0") is None
    assert again.answer_to(str(KEPT)) == CommandDone(command="agent.pause")
    (tmp_path / "commands.json").write_text('{"1": {"type": "command.done"}, "2": 7}')
    assert CarriedOut(tmp_path).answer_to("1") is None


async def nothing_pending(bus: Bus) -> bool:
    """Whether the harness has acknowledged all that it has read of its control stream."""
    reader = bus.reader()
    try:
        stream, group = streams.control(AGENT), streams.GROUP_HARNESS
        return await reader.read_pending(stream, group, AGENT, after="0", count=100) == []
    finally:
        await reader.aclose()
