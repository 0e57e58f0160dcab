"""What becomes of messages: acknowledged once, put back, sent once, whatever happens in between."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Scenario
from tests.support.agent_rig import AGENT, PATIENCE_S, config_for, of_type, outside, running
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import AgentStateChanged
from hive_contracts.envelope import Envelope
from hive_contracts.messages import MessageAcked
from hive_contracts.turns import TurnEnded, TurnNote, TurnStarted, TurnToolResult
from hive_harness.engine import EngineProcess
from hive_harness.service import Harness
from hive_runtime.bus import Ack, Batch, Bus
from hive_runtime.errors import LeaseLost
from hive_runtime.memory_bus import MemoryBus

OnBus = Callable[[Scenario], None]


def test_messages_are_taken_in_order_and_acknowledged(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            ids = [await world.deliver(f"!say {number}") for number in range(3)]
            async with running(config_for(tmp_path), bus):
                for _ in ids:
                    assert (await world.turn_end())["outcome"] == "ok"
                await world.at_rest()
            assert [started.messages for started in world.events(TurnStarted)] == [(one,) for one in ids]
            assert "(2 more waiting)" in world.events(TurnStarted)[0].prompt
            assert await bus.depth(streams.inbox(AGENT)) == 0

    on_bus(scenario)


def test_live_events_of_a_turn_are_numbered_without_gaps(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!say a\n!bash echo b\n!call whoami")
            await world.turn_end()
        numbers = [event.data["seq"] for event in world.seen if "seq" in event.data]
        assert numbers == list(range(len(numbers)))

    on_bus(scenario)


def test_recv_takes_waiting_messages_into_the_turn_and_they_are_acknowledged_with_it(
    on_bus: OnBus, tmp_path: Path
) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            first = await world.deliver('!call recv {"max": 1}\n!call recv\n!call recv')
            second = await world.deliver("more", sender="bob")
            third = await world.deliver("still more", sender="carol")
            async with running(config_for(tmp_path), bus):
                ended = await world.turn_end()
                assert ended["messages"] == [first, second, third]
                await world.at_rest()
            assert await bus.depth(streams.inbox(AGENT)) == 0
            assert [result.text for result in world.events(TurnToolResult)] == [
                f"Message {second} from bob:\n\nmore",
                f"Message {third} from carol:\n\nstill more",
                "(empty)",
            ]

    on_bus(scenario)


def test_recv_waits_for_a_message_that_is_yet_to_come(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            first = await world.deliver('!call recv {"wait_seconds": 30}')
            await world.until(of_type("turn.tool_call"))
            second = await world.deliver("late", sender="bob")
            assert (await world.turn_end())["messages"] == [first, second]

    on_bus(scenario)


@pytest.mark.slow
def test_a_recv_whose_turn_died_lets_go_of_the_inbox(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus) as harness:
            head = await world.deliver('!call recv {"wait_seconds": 100}\n!say done')
            await world.until(of_type("turn.tool_call"))
            assert harness.runner
            assert harness.runner.pid
            await harness.runner.close(working=True, patience_s=0.5)
            assert (await world.turn_end())["outcome"] == "engine_crashed"
            await world.until(of_type("turn.tool_call"))
            second = await world.deliver("news", sender="bob")
            assert (await world.turn_end())["messages"] == [head, second]

    on_bus(scenario)


@pytest.mark.slow
def test_a_failed_turn_puts_everything_back_in_order(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            head = await world.deliver('!call recv {"wait_seconds": 30}\n!bash mkdir once\n!fail error')
            await world.until(of_type("turn.tool_call"))
            joined = await world.deliver("joined", sender="bob")
            for _ in range(2):
                ended = await world.turn_end()
                assert (ended["outcome"], ended["messages"]) == ("failed", [head, joined])
        assert [started.redelivered for started in world.events(TurnStarted)[:2]] == [False, True]

    on_bus(scenario)


def test_a_send_in_a_turn_that_is_run_again_keeps_its_key(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!send bob same\n!send bob same\n!send carol same\n!crash")
            await world.turn_end()
            await world.turn_end()
            first, second = world.keys[:3], world.keys[3:6]
            assert first == second
            assert len(set(first)) == 3

    asyncio.run(main())


def test_entries_that_are_no_messages_are_discarded_with_a_note(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            wrong = MessageAcked(message_id="m-1", recipient=AGENT)
            await bus.append(streams.inbox(AGENT), Envelope.of(wrong, source="broker"))
            await bus.append(streams.inbox(AGENT), Envelope(source="broker", type="message.delivered", data={"x": 1}))
            head = await world.deliver("!say still here")
            async with running(config_for(tmp_path), bus):
                assert (await world.turn_end())["messages"] == [head]
                await world.at_rest()
            notes = [note.text for note in world.events(TurnNote) if "discarded" in note.text]
            assert len(notes) == 2
            assert await bus.depth(streams.inbox(AGENT)) == 0

    on_bus(scenario)


def test_an_entry_that_was_trimmed_while_pending_is_discarded_with_a_note(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            await world.deliver("trimmed")
            reader = bus.reader()
            (entry,) = await reader.read_new(streams.inbox(AGENT), "harness", AGENT, count=1, block_ms=100)
            await reader.aclose()
            await bus.write(Batch(acks=[Ack(streams.inbox(AGENT), "nobody", [entry.id], delete=True)]))
            async with running(config_for(tmp_path), bus):
                note = await world.until(of_type("turn.note"))
                assert "trimmed" in note.data["text"]
                await world.deliver("!say on")
                assert (await world.turn_end())["outcome"] == "ok"

    on_bus(scenario)


def test_a_second_harness_takes_the_inbox_and_the_first_ends(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            first = Harness(config_for(tmp_path), bus)
            task = asyncio.ensure_future(first.run())
            head = await world.deliver('!call recv {"wait_seconds": 60}')
            await world.until(of_type("turn.tool_call"))
            await bus.hash_set(streams.state(AGENT), {streams.LEASE_FIELD: "another"})
            await world.deliver("end the wait", sender="bob")
            with pytest.raises(BaseExceptionGroup) as caught:
                async with asyncio.timeout(PATIENCE_S):
                    await task
            await first.aclose()
            assert caught.group_contains(LeaseLost)
            assert await bus.depth(streams.inbox(AGENT)) == 2
            await bus.hash_set(streams.state(AGENT), {streams.LEASE_FIELD: "gone"})
            async with running(config_for(tmp_path), bus):
                await world.turn_end()
                await world.at_rest()
            assert head in world.events(TurnEnded)[-1].messages

    on_bus(scenario)


class StopsAtEnd(MemoryBus):
    """Comes to a halt at the end of a turn, as a harness does that is killed there."""

    def __init__(self, *, before: str) -> None:
        super().__init__()
        self.halted = asyncio.Event()
        self.before: str | None = before

    async def write(self, batch: Batch) -> None:
        if self.before == "telling" and any(append.envelope.type == TurnEnded.TYPE for append in batch.appends):
            await self._halt()
        await super().write(batch)

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        if self.before == "acknowledging":
            await self._halt()
        await super().ack_leased(agent, lease, ids)

    async def _halt(self) -> None:
        self.halted.set()
        await asyncio.Event().wait()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["telling", "acknowledging"])
def test_a_turn_that_ended_well_is_not_run_again_wherever_the_harness_dies(tmp_path: Path, before: str) -> None:
    async def main() -> None:
        bus = StopsAtEnd(before=before)
        async with outside(bus) as world:
            head = await world.deliver("!send bob once")
            first = Harness(config_for(tmp_path), bus)
            task = asyncio.ensure_future(first.run())
            await bus.halted.wait()
            task.cancel()
            await asyncio.wait([task])
            assert first.runner
            await first.runner.close()
            bus.before = None
            async with running(config_for(tmp_path), bus):
                after = await world.deliver("!say next")
                await world.until(lambda event: event.type == "turn.ended" and event.data["messages"] == [after])
                await world.at_rest()
        runs = [started.messages for started in world.events(TurnStarted)]
        assert runs == [(head,), (after,)]
        ends = {event.id: event.data["messages"] for event in world.seen if event.type == "turn.ended"}
        assert list(ends.values()) == [[head], [after]]
        assert await bus.depth(streams.inbox(AGENT)) == 0
        assert not (tmp_path / "state/ended-turn.json").exists()

    asyncio.run(main())


def test_told_to_stop_in_a_turn_the_message_stays_and_the_turn_is_told_to_be_over(
    on_bus: OnBus, tmp_path: Path
) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world:
            async with running(config_for(tmp_path), bus):
                head = await world.deliver("!say begun\n!hang")
                await world.until(of_type("turn.text"))
            ended = await world.turn_end()
            assert (ended["outcome"], ended["messages"]) == ("interrupted", [head])
            assert await bus.depth(streams.inbox(AGENT)) == 1

    on_bus(scenario)


def test_an_idle_engine_is_closed_and_the_session_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(tmp_path, idle_close_s=0), bus):
            sessions = set()
            for _ in range(2):
                await world.deliver("!say hello")
                sessions.add((await world.turn_end())["session_id"])
            assert len(sessions) == 1
            assert [note.text for note in world.events(TurnNote)] == [
                "engine started; a new session begins",
                f"engine started; session {sessions.pop()} is resumed",
            ]

    asyncio.run(main())


def test_the_last_turn_is_known_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world:
            async with running(config_for(tmp_path), bus):
                await world.deliver("!say hello")
                ended = await world.turn_end()
                before = await world.in_state("idle")
            async with running(config_for(tmp_path), bus):
                assert (await world.in_state("starting"))["last_turn"] is None
                after = await world.in_state("idle")
        assert after["last_turn"] == before["last_turn"]
        assert after["last_turn"]["turn_id"] == ended["turn_id"]

    asyncio.run(main())


def test_the_state_tells_what_the_agent_does(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus) as harness:
            began = datetime.now(UTC)
            await world.deliver("!usage 1500 20\n!say hello")
            ended = await world.turn_end()
            await world.at_rest()
            states = [change.state for change in world.events(AgentStateChanged)]
            assert [state.state for state in states] == ["starting", "idle", "thinking", "thinking", "idle"]
            last = states[-1]
            assert last.last_turn
            assert (last.last_turn.turn_id, last.last_turn.outcome) == (ended["turn_id"], "ok")
            assert last.last_turn.started >= began
            assert last.context_tokens == 1500
            assert last.cost_usd == last.cost_day_usd == last.cost_turn_usd > 0
            assert last.session_id == ended["session_id"]
            mirrored = (await bus.hash_all(streams.state(AGENT)))[streams.STATE_FIELD]
            assert harness.status.state.model_validate_json(mirrored).agent == AGENT

    on_bus(scenario)


def test_an_engine_that_cannot_be_started_is_a_crash_and_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        config = replace(config_for(tmp_path), python=str(tmp_path / "missing"))
        async with outside(bus) as world, running(config, bus):
            await world.deliver("hello")
            for _ in range(2):
                ended = await world.turn_end()
                assert ended["outcome"] == "engine_crashed"
                assert "cannot start" in ended["reason"]

    asyncio.run(main())


def test_engines_that_die_on_an_old_session_are_given_a_new_one(tmp_path: Path) -> None:
    engine = tmp_path / "python"
    engine.write_text('#!/bin/sh\ncase "$*" in *--resume*) exit 7;; esac\nexec python3 "$@"\n')
    engine.chmod(0o755)
    config = replace(config_for(tmp_path), python=str(engine))
    (config.state_dir / "session.json").write_text('{"engine": "scripted", "session_id": "poison"}')

    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config, bus):
            await world.deliver("!say hello")
            outcomes = [(await world.turn_end())["outcome"] for _ in range(2)]
            assert outcomes == ["engine_crashed", "ok"]

    asyncio.run(main())


def test_an_engine_that_begins_while_the_harness_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: asyncio.Queue[EngineProcess] = asyncio.Queue()
    start = EngineProcess.start

    async def at_the_last_moment(*what: Any) -> EngineProcess:
        process = await start(*what)
        begun.put_nowait(process)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return process

    async def scenario() -> None:
        bus = MemoryBus()
        monkeypatch.setattr(EngineProcess, "start", at_the_last_moment)
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!say hello")
            process = await begun.get()
        await until(lambda: process.ended)
        assert process.exit_status == -signal.SIGKILL

    asyncio.run(scenario())
