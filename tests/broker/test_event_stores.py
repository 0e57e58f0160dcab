"""A store of events that cannot be used is its own agent's matter: the others' go on, and it catches up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from tests.broker.post import register
from tests.support.processes import open_files
from tests.support.waiting import until

from hive_broker.config import BrokerSettings
from hive_broker.service import Broker
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnText
from hive_runtime import shared_reads, store
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.records.events import MIGRATIONS, EventReader
from hive_runtime.records.messages import MessageWriter
from hive_runtime.store import Store

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


@asynccontextmanager
async def _broker(bus: Bus, data_dir: Path) -> AsyncIterator[None]:
    with closing(MessageWriter(data_dir / "broker.sqlite")) as messages:
        task = asyncio.create_task(Broker(BrokerSettings(), data_dir, bus, messages).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 20)


async def _says(bus: Bus, name: str, *numbers: int) -> None:
    for number in numbers:
        await bus.append(streams.live(name), Envelope.of(TurnText(turn_id="t", seq=number, text="hm"), source=name))


def test_while_one_agents_store_is_locked_the_others_are_recorded(
    on_bus: OnBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.2)
    path = {name: tmp_path / "agents" / name / "events.sqlite" for name in ("ada", "lin")}

    def recorded(name: str) -> list[int]:
        return [event.seq for event in EventReader(path[name]).page()]

    async def scenario(bus: Bus) -> None:
        await register(bus, "ada", "lin")
        await ensure_principal(bus, "operator")
        async with _broker(bus, tmp_path):
            for name in path:
                await _says(bus, name, 0)
            await until(lambda: recorded("ada") == recorded("lin") == [0])
            with closing(Store(path["lin"], MIGRATIONS)) as holder, holder.transaction():
                for number in range(1, 30):
                    await _says(bus, "lin", number)
                    await _says(bus, "ada", number)
                await until(lambda: recorded("ada") == list(range(30)))
                assert recorded("lin") == [0]
            await until(lambda: recorded("lin") == list(range(30)))

    on_bus(scenario)


def test_a_store_that_cannot_even_be_opened_ends_nobody_elses_record(on_bus: OnBus, tmp_path: Path) -> None:
    broken = tmp_path / "agents" / "lin" / "events.sqlite"
    broken.mkdir(parents=True)

    async def scenario(bus: Bus) -> None:
        await register(bus, "ada", "lin")
        await ensure_principal(bus, "operator")
        async with _broker(bus, tmp_path):
            await _says(bus, "lin", 0, 1)
            await _says(bus, "ada", 0)
            await until(lambda: EventReader(tmp_path / "agents" / "ada" / "events.sqlite").page())
            broken.rmdir()
            await until(lambda: [event.seq for event in EventReader(broken).page()] == [0, 1])

    on_bus(scenario)


@pytest.mark.slow
def test_the_store_of_a_silent_agent_is_closed_and_what_it_says_then_is_recorded(
    on_bus: OnBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_reads, "ALONE_S", 0.05)
    monkeypatch.setattr(shared_reads, "REST_S", 0.1)
    path = tmp_path / "agents" / "ada" / "events.sqlite"

    def recorded() -> list[int]:
        return [event.seq for event in EventReader(path).page()]

    async def scenario(bus: Bus) -> None:
        await register(bus, "ada")
        await ensure_principal(bus, "operator")
        async with _broker(bus, tmp_path):
            for number in range(3):
                await _says(bus, "ada", number)
                await until(lambda: recorded() == list(range(number + 1)))  # noqa: B023 - awaited at once
                await until(lambda: not open_files(path))
            path.unlink()  # taken away while it rests: the live stream still holds all of it
            await _says(bus, "ada", 3)
            await until(lambda: recorded() == [0, 1, 2, 3])

    on_bus(scenario)


@pytest.mark.slow
def test_of_many_silent_agents_no_store_stays_open(on_bus: OnBus, tmp_path: Path) -> None:
    names = [f"agent-{number}" for number in range(30)]

    async def scenario(bus: Bus) -> None:
        await register(bus, *names)
        await ensure_principal(bus, "operator")
        async with _broker(bus, tmp_path):
            paths = [tmp_path / "agents" / name / "events.sqlite" for name in names]
            await until(lambda: all(path.exists() for path in paths))
            await until(lambda: not any(open_files(path) for path in paths))

    on_bus(scenario)
