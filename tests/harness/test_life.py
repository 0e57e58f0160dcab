"""Pauses, naps and waits: what keeps an agent from a turn, how it ends, and what of it outlasts a restart."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.agent_rig import config_for

from hive_contracts.agents import AgentState, TurnState
from hive_harness.kept import Kept, KeptStore
from hive_harness.life import Life
from hive_harness.live import LivePublisher
from hive_harness.status import StatusKeeper
from hive_runtime.memory_bus import MemoryBus

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class World:
    """A life with a clock of its own."""

    directory: Path
    now: datetime = NOON
    status: StatusKeeper = field(init=False)
    kept: KeptStore = field(init=False)
    life: Life = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start, or start again."""
        config = config_for(self.directory)
        bus = MemoryBus()
        self.status = StatusKeeper(config, bus, LivePublisher(bus, config.agent))
        self.kept = KeptStore(config.state_dir)
        self.life = Life(self.kept, self.status, now=lambda: self.now)
        self.life.ready()

    @property
    def state(self) -> AgentState:
        return self.status.state

    @property
    def doing(self) -> str:
        return self.state.state

    async def is_free(self) -> bool:
        try:
            async with asyncio.timeout(0.02):
                await self.life.free()
        except TimeoutError:
            return False
        return True


def live(tmp_path: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(World(tmp_path))

    asyncio.run(main())


def test_a_nap_ends_by_itself_and_outlasts_a_restart(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.life.nap(NOON + HOUR)
        assert (world.state.state, world.state.until) == (TurnState.NAPPING, NOON + HOUR)
        assert not await world.is_free()
        world.begin()
        assert world.doing == TurnState.NAPPING
        world.now += HOUR
        assert await world.is_free()
        assert (world.state.state, world.state.until) == (TurnState.IDLE, None)
        world.begin()
        assert world.doing == TurnState.IDLE

    live(tmp_path, story)


def test_a_pause_outlasts_a_restart_and_the_end_of_a_nap(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.life.nap(NOON + HOUR)
        world.life.pause()
        world.begin()
        world.now += 2 * HOUR
        assert not await world.is_free()
        assert world.doing == TurnState.PAUSED
        world.life.resume()
        assert await world.is_free()

    live(tmp_path, story)


def test_a_limit_ends_a_little_after_the_providers_time_and_a_pause_outlasts_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.life.park(NOON + HOUR, "rate_limited")
        until = world.state.until
        assert until
        assert NOON + HOUR <= until <= NOON + HOUR + timedelta(minutes=1)
        world.begin()
        assert world.doing == TurnState.RATE_LIMITED
        world.life.pause()
        world.now = until
        assert not await world.is_free()
        assert world.doing == TurnState.PAUSED

    live(tmp_path, story)


@pytest.mark.parametrize("wait", ["nap", "park", "lose_login", "wait"])
def test_whatever_is_waited_for_the_operator_ends_it(tmp_path: Path, wait: str) -> None:
    async def story(world: World) -> None:
        arguments = (NOON + HOUR,) if wait == "nap" else (NOON + HOUR, "why")
        getattr(world.life, wait)(*arguments)
        assert not await world.is_free()
        assert world.life.wake()
        assert await world.is_free()
        assert not world.life.wake()
        world.begin()
        assert world.doing == TurnState.IDLE

    live(tmp_path, story)


def test_what_begins_in_a_turn_shows_after_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.life.begin_turn("t-1")
        world.life.take_in_hand("Bash: make")
        world.life.nap(NOON + HOUR)
        assert (world.state.state, world.state.detail, world.state.turn_id) == (
            TurnState.THINKING,
            "Bash: make",
            "t-1",
        )
        world.life.end_turn()
        assert (world.state.state, world.state.turn_id) == (TurnState.NAPPING, None)

    live(tmp_path, story)


def test_costs_are_counted_by_day_and_in_all(tmp_path: Path) -> None:
    store = KeptStore(tmp_path)
    store.add_cost(1.0, now=NOON)
    store.add_cost(0.5, now=NOON + HOUR)
    assert (store.value.cost_day_usd, store.value.cost_usd) == (1.5, 1.5)
    store.add_cost(0.25, now=NOON + 24 * HOUR)
    assert KeptStore(tmp_path).value == Kept(cost_usd=1.75, cost_day_usd=0.25, day="2030-02-01")


@pytest.mark.parametrize("content", ["", "[]", '{"paused": "perhaps"}', '{"cost_usd": -1}'])
def test_what_cannot_be_read_is_as_if_nothing_were_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "harness.json").write_text(content)
    assert KeptStore(tmp_path).value == Kept()


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    (tmp_path / "harness.json").write_text(json.dumps({"nap_until": "2030-01-31T12:00:00"}))
    assert KeptStore(tmp_path).value.nap_until == NOON
