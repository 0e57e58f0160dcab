"""Several brokers: who does what, and that no two do the same."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

from hive_broker import membership
from hive_broker.membership import Membership, slot
from hive_runtime.bus import Bus
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
NAMES = [f"agent-{number}" for number in range(200)]


class Worker:
    """Works on what is its own, as the broker does, and notes when two work on the same."""

    def __init__(self, bus: Bus, name: str, busy: dict[str, str]) -> None:
        self.membership = Membership(bus, name)
        self._bus = bus
        self._name = name
        self._busy = busy
        self.task = asyncio.ensure_future(self.membership.run(self._changed))

    @property
    def own(self) -> set[str]:
        return {name for name, who in self._busy.items() if who == self._name}

    async def _changed(self) -> None:
        wanted = {name for name in NAMES if self.membership.owns(name)}
        for name in self.own - wanted:
            await asyncio.sleep(0)  # stopping takes its time
            del self._busy[name]
        if self.membership.agreed:
            for name in wanted - self.own:
                assert name not in self._busy, f"{self._busy[name]} still works on {name}"
                self._busy[name] = self._name

    async def die(self) -> None:
        """Without a word."""
        self.task.cancel()
        await asyncio.wait([self.task])
        for name in self.own:
            del self._busy[name]

    async def run_out(self) -> None:
        """As when its place's time has passed."""
        await self._bus.join(self._name, 1, "")


@pytest.fixture(autouse=True)
def places_that_no_pause_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed often; and kept for longer than a test may wait, so that a slow machine ends none of them."""
    monkeypatch.setattr(membership, "PLACE_MS", 60_000)
    monkeypatch.setattr(membership, "RENEW_S", 0.05)


def test_brokers_that_come_and_go_share_all_and_never_work_on_the_same(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        busy: dict[str, str] = {}
        one = Worker(bus, "one", busy)
        await until(lambda: len(busy) == len(NAMES))
        two, three = Worker(bus, "two", busy), Worker(bus, "three", busy)
        await until(lambda: len(busy) == len(NAMES) and all(len(worker.own) > 30 for worker in (one, two, three)))
        assert [worker.membership.is_first for worker in (one, two, three)] == [True, False, False]
        await one.die()
        await one.run_out()
        await until(lambda: len(busy) == len(NAMES))
        assert len(two.own) + len(three.own) == len(NAMES)
        assert two.membership.is_first != three.membership.is_first
        await three.die()
        await three.membership.leave()
        await until(lambda: len(two.own) == len(NAMES) and two.membership.is_first)
        assert not two.task.done()
        await two.die()

    on_bus(scenario)


def test_a_broker_started_in_a_dead_ones_stead_takes_its_place_at_once(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        busy: dict[str, str] = {}
        one = Worker(bus, "one", busy)
        await until(lambda: one.membership.is_first)
        two = Worker(bus, "two", busy)
        await until(lambda: len(busy) == len(NAMES) and one.own and two.own)
        before = one.own
        await one.die()
        again = Worker(bus, "one", busy)
        await until(lambda: again.own == before and again.membership.is_first)
        for worker in (again, two):
            await worker.die()

    on_bus(scenario)


def test_brokers_find_each_other_again_in_an_emptied_server(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with (
            aclosing(RedisBus(redis.address, load_functions=True)) as bus,
            aclosing(RedisAdmin(redis.address)) as admin,
        ):
            first, second = Membership(bus, "one"), Membership(bus, "two")
            tasks = [asyncio.ensure_future(member.run(_nothing)) for member in (first, second)]
            await until(lambda: first.agreed and second.agreed and first.is_first != second.is_first)
            await admin.flush()
            await until(lambda: first.agreed and second.agreed and first.is_first != second.is_first)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    asyncio.run(scenario())


async def _nothing() -> None:
    return None


def test_every_process_has_a_slot_and_a_free_one_is_taken_again(tmp_path: Path) -> None:
    with slot(tmp_path / "run", "broker") as one:
        with slot(tmp_path / "run", "broker") as two:
            assert (one, two) == ("broker-0", "broker-1")
        with slot(tmp_path / "run", "broker") as again:
            assert again == "broker-1"
