"""The record follows from what was told: it holds up no delivery, loses nothing, and tells what came before it."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, record_all, register, send, told
from tests.support.failing_bus import FailingBus
from tests.support.waiting import eventually, until

from hive_broker.config import BrokerSettings
from hive_broker.record import Record
from hive_broker.recorder import Recorder
from hive_broker.service import Broker
from hive_contracts import streams
from hive_contracts.agents import ServiceBeat, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MessageDelivered, MessageState
from hive_contracts.questions import AskQuestion, ThreadRefused
from hive_contracts.turns import TurnEnded, TurnStarted
from hive_runtime import beat, drain, store
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import MessageReader, MessageWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


@asynccontextmanager
async def _broker(bus: Bus, data_dir: Path) -> AsyncIterator[None]:
    with closing(MessageWriter(data_dir / "broker.sqlite", patient=True)) as messages:
        task = asyncio.create_task(Broker(BrokerSettings(), data_dir, bus, messages).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 20)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Another process holds the store's write lock."""
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute('BEGIN EXCLUSIVE');"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        yield
        other.communicate("")


@contextmanager
def _full(path: Path) -> Iterator[None]:
    """No room is left beside the store."""
    filler = path.parent / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    yield
    filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = shutil.which("mount")
    assert mount
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=False).returncode:
        pytest.skip("this machine lets no file system be mounted")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


async def _goes_on(bus: Bus, data_dir: Path, trouble: Callable[[Path], AbstractContextManager[None]]) -> None:
    await register(bus, "ada", "lin")
    await ensure_principal(bus, "operator")
    path = data_dir / "broker.sqlite"
    async with _broker(bus, data_dir):
        await bus.append(streams.outbox("ada"), send("lin", "before", key="before"))
        await until(lambda: len(_states(path)) == 1)
        await until(lambda: _are_at_rest(data_dir, 2))  # what they give back would be room on a full disk
        with trouble(path):
            for number in range(3):
                await bus.append(streams.outbox("ada"), send("lin", "during", key=f"during-{number}"))
            await eventually(lambda: _arrived(bus, "lin", 4))
            await eventually(lambda: _answered(bus, "ada", 4))
            await eventually(lambda: _warns(bus, "Messages are delivered but not recorded"))
            ask = Envelope.of(AskQuestion(to="operator", question="why?"), source="ada", id="q")
            await bus.append(streams.outbox("ada"), ask)
            await bus.append(streams.outbox("ada"), send("lin", "after the question", key="last"))
            await eventually(lambda: _arrived(bus, "lin", 5))
            await eventually(lambda: _answered(bus, "ada", 6))
            refusal = next(answer for answer in await told(bus, streams.control("ada")) if answer.correlation_id == "q")
            assert refusal.payload(ThreadRefused).code == "store_unavailable"
        await until(lambda: _states(path) == [MessageState.DELIVERED] * 5)
        await eventually(lambda: _warns(bus, ""))


def _are_at_rest(data_dir: Path, agents: int) -> bool:
    """Whether the stores of their events are there and closed."""
    stores = list(data_dir.glob("agents/*/events.sqlite"))
    return len(stores) == agents and not list(data_dir.glob("agents/*/*-wal"))


def _states(path: Path) -> list[MessageState]:
    return [view.state for view in MessageReader(path).recent()]


async def _arrived(bus: Bus, name: str, count: int) -> bool:
    return len(await inbox(bus, name)) == count


async def _answered(bus: Bus, name: str, count: int) -> bool:
    return len(await told(bus, streams.control(name))) == count


async def _warns(bus: Bus, words: str) -> bool:
    pulse = (await bus.hash_all(streams.SERVICES)).get("broker")
    warning = ServiceBeat.model_validate_json(pulse).warning if pulse else ""
    return words in warning if words else not warning


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits less long for a lock, and a beat that says so sooner."""
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(beat, "INTERVAL_S", 0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_while_the_store_is_locked_delivery_goes_on_and_the_record_catches_up(on_bus: OnBus, tmp_path: Path) -> None:
    on_bus(lambda bus: _goes_on(bus, tmp_path, _locked))


@pytest.fixture
def heedless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drain mode would take on nothing new; it looks each second, and a disk fills faster."""
    monkeypatch.setattr(drain, "DISK_FROM_BYTES", 0)
    monkeypatch.setattr(drain, "DISK_UNTIL_BYTES", 0)


@pytest.mark.usefixtures("impatient", "heedless")
def test_while_the_disk_is_full_delivery_goes_on_and_the_record_catches_up(small_disk: Path) -> None:
    asyncio.run(_goes_on(MemoryBus(), small_disk, _full))


def test_a_step_that_comes_before_its_message_is_told_once_both_are_there(tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        name = message_id("ada", "k", "lin")
        await _deliver(post)
        await _turn(post, "lin", name)
        await _turn(post, "eve", name)
        assert post.records.get(name) is None
        await post.record()
        view = post.records.get(name)
        assert view
        assert (view.state, view.attempts) == (MessageState.ACKED, 1)
        told_of = [(event.type, event.subject) for event in await told(post.bus, streams.EVENTS)]
        assert told_of[-2:] == [("message.in_turn", name), ("message.acked", name)]
        assert len(told_of) == 4

    _with_post(tmp_path, scenario)


def test_a_message_that_failed_too_often_before_it_was_recorded_is_given_up(tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        name = message_id("ada", "k", "lin")
        await _deliver(post)
        for number in range(5):
            await _turn(post, "lin", name, turn=f"t{number}", outcome=TurnOutcome.ENGINE_CRASHED)
        await post.record()
        view = post.records.get(name)
        assert view
        assert view.state is MessageState.DEAD

    _with_post(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_of_recording_loses_no_fact(tmp_path: Path, *, after: bool) -> None:
    async def scenario(post: Post) -> None:
        failed, step = True, 0
        while failed:
            key = f"k-{step}"
            name = message_id("ada", key, "lin")
            await _deliver(post, key)
            await _turn(post, "lin", name, turn=key)
            bus = FailingBus(post.bus, fail_at=step, after=after)
            await post.bus.ensure_group(streams.EVENTS, streams.GROUP_RECORD)
            with suppress(BusUnavailable):
                await record_all(post.bus, Record(bus, post.messages, post.dead_letters()))
            await record_all(post.bus, Record(post.bus, post.messages, post.dead_letters()), again=True)
            types = {event.type for event in await told(post.bus, streams.EVENTS) if event.subject == name}
            assert types == {"message.accepted", "message.delivered", "message.in_turn", "message.acked"}
            failed, step = bus.failed, step + 1
        assert step > 3

    _with_post(tmp_path, scenario)


def test_a_delivery_that_another_service_tells_of_is_not_recorded(tmp_path: Path) -> None:
    """Who may append to `hive:events` may still not write the record by an honest mistake."""

    async def scenario(post: Post) -> None:
        await _deliver(post)
        (fact,) = [e for e in await told(post.bus, streams.EVENTS) if e.type == MessageDelivered.TYPE]
        other = fact.payload(MessageDelivered).message.model_copy(update={"id": "m-other"})
        forged = Envelope.of(MessageDelivered(message=other), source="dashboard", subject=other.id)
        await post.bus.append(streams.EVENTS, forged)
        await post.record()
        assert [view.id for view in post.records.recent()] == [fact.subject]

    _with_post(tmp_path, scenario)


def _with_post(tmp_path: Path, scenario: Callable[[Post], Awaitable[None]]) -> None:
    async def run() -> None:
        post = await Post.open(MemoryBus(), tmp_path, "ada", "lin", "eve")
        with closing(post.messages):
            await scenario(post)

    asyncio.run(run())


async def _deliver(post: Post, key: str = "k") -> None:
    """Without recording it."""
    await post.bus.append(streams.outbox("ada"), send("lin", key=key))
    await post.worker("ada").handle(await post.take("ada"))


async def _turn(post: Post, who: str, message: str, *, turn: str = "t", outcome: TurnOutcome = TurnOutcome.OK) -> None:
    """What the harness of `who` tells of a turn, recorded."""
    recorder = Recorder(who, bus=post.bus, messages=post.messages, events=None, dead=post.dead_letters())
    begun = TurnStarted(turn_id=turn, seq=0, messages=(message,))
    ended = TurnEnded(turn_id=turn, seq=1, outcome=outcome, reason="boom", messages=(message,))
    await post.bus.ensure_group(streams.live(who), streams.GROUP_RECORDER)
    for payload in (begun, ended):
        await post.bus.append(streams.live(who), Envelope.of(payload, source=who))
    reader = post.bus.reader()
    entries = await reader.read_new(streams.live(who), streams.GROUP_RECORDER, "broker", count=9, block_ms=0)
    await recorder.handle(entries)
