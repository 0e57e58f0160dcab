"""A container that crashes again and again costs its manager few turns: the first is told, the others are counted."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.broker.post import inbox, register
from tests.support.failing_bus import FailingBus

from hive_broker.crashes import Crashes
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.mail import Mail
from hive_broker.notify import Notifier
from hive_contracts import streams
from hive_contracts.agents import AgentPurged, ContainerCrashed
from hive_contracts.envelope import Envelope
from hive_contracts.messages import Message
from hive_contracts.names import MANAGER, OPERATOR
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.errors import BusUnavailable
from hive_runtime.records.messages import MessageWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
WINDOW = timedelta(minutes=15)
START = datetime.now(UTC)


class World:
    """A broker's notices, with a clock of the test's. Each `broker` is one that just started."""

    def __init__(self, bus: Bus, path: Path) -> None:
        self.bus = bus
        self.now = START
        self.facts = 0
        self._path = path / "broker.sqlite"

    @asynccontextmanager
    async def broker(self, bus: Bus | None = None) -> AsyncIterator[tuple[Notifier, Crashes]]:
        bus = bus or self.bus
        messages, directory = MessageWriter(self._path), Directory(bus)
        try:
            await directory.refresh()
            mail = Mail(bus, Known(bus, messages), directory)
            crashes = Crashes(bus, mail, window=WINDOW, now=lambda: self.now)
            yield Notifier(bus, mail, directory, crashes, now=lambda: self.now), crashes
        finally:
            messages.close()

    async def taken(self, crash: ContainerCrashed) -> Entry:
        """The entry of a crash that comes now."""
        self.facts += 1
        fact = Envelope.of(crash, source="supervisor", id=f"f{self.facts}", time=self.now)
        return Entry(streams.EVENTS, await self.bus.append(streams.EVENTS, fact), fact.encode())

    async def crash(self, agent: str = "ada", *, status: int = 3) -> None:
        entry = await self.taken(ContainerCrashed(agent=agent, exit_status=status, log_tail=("last\nwords",)))
        async with self.broker() as (notifier, _):
            await notifier.handle([entry])

    async def after(self, passed: timedelta) -> float:
        """Time passes, and the broker looks. Returns for how many seconds it would rest."""
        self.now += passed
        async with self.broker() as (_, crashes):
            return await crashes.tell_due()

    async def told(self, name: str = MANAGER) -> list[Message]:
        return await inbox(self.bus, name)


@pytest.fixture
def play(on_bus: OnBus, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def run(story: Callable[[World], Awaitable[None]]) -> None:
        async def on_this(bus: Bus) -> None:
            await register(bus, "ada", "lin", MANAGER)
            await ensure_principal(bus, OPERATOR)
            await bus.ensure_group(streams.EVENTS, streams.GROUP_NOTIFY)
            await story(World(bus, tmp_path))

        on_bus(on_this)

    return run


Play = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.mark.slow
def test_of_a_hundred_crashes_in_a_window_the_manager_hears_twice_with_their_number(play: Play) -> None:
    async def story(world: World) -> None:
        for _ in range(99):
            await world.crash()
            world.now += timedelta(seconds=2)
        await world.crash(status=9)
        assert len(await world.told()) == 1
        await world.after(WINDOW)
        _, summary = await world.told()
        assert summary.body == (
            "The container of ada crashed 99 more times in 15 min since the last message about it, at last with"
            " status 9 after 0 s; it is started again each time. Its log ends with:\n| last words"
        )
        assert not summary.context_only

    play(story)


def test_what_goes_on_crashing_is_told_once_a_window_and_wakes_nobody_from_the_third_on(play: Play) -> None:
    async def story(world: World) -> None:
        await world.crash()
        for _ in range(3):
            await world.crash()
            await world.after(WINDOW)
        told = await world.told()
        assert [message.context_only for message in told] == [False, False, True, True]
        assert all("crashed once more" in message.body for message in told[1:])

    play(story)


def test_after_a_quiet_window_a_crash_is_told_at_once_again(play: Play) -> None:
    async def story(world: World) -> None:
        await world.crash()
        assert await world.after(timedelta(minutes=14, seconds=30)) == pytest.approx(30)
        await world.after(timedelta(seconds=30))
        assert await world.bus.hash_all(streams.CRASHES) == {}
        await world.crash()
        assert [message.context_only for message in await world.told()] == [False, False]

    play(story)


def test_a_backlog_is_counted_by_when_it_happened(play: Play) -> None:
    """The broker was away: it takes all at once, and tells what it would have told."""

    async def story(world: World) -> None:
        entries = []
        for minutes in (0, 1, 2, 60):
            world.now = START + timedelta(minutes=minutes)
            entries.append(await world.taken(ContainerCrashed(agent="ada")))
        async with world.broker() as (notifier, _):
            await notifier.handle(entries)
        await world.after(WINDOW)
        bodies = [message.body for message in await world.told()]
        assert len(bodies) == 3
        assert "2 more times" in bodies[1]
        assert "once more" in bodies[2]

    play(story)


def test_each_agent_is_counted_by_itself_and_of_the_manager_the_operator_hears(play: Play) -> None:
    async def story(world: World) -> None:
        for agent in ("ada", "lin", MANAGER) * 2:
            await world.crash(agent)
        await world.after(WINDOW)
        assert [message.body.split()[3] for message in await world.told()] == ["ada", "lin", "ada", "lin"]
        assert len(await world.told(OPERATOR)) == 2

    play(story)


def test_a_purged_agent_leaves_no_count(play: Play) -> None:
    async def story(world: World) -> None:
        await world.crash()
        purged = Envelope.of(AgentPurged(agent="ada"), source="supervisor")
        entry = Entry(streams.EVENTS, await world.bus.append(streams.EVENTS, purged), purged.encode())
        async with world.broker() as (notifier, _):
            await notifier.handle([entry])
        assert await world.bus.hash_all(streams.CRASHES) == {}

    play(story)


def test_a_count_that_cannot_be_read_begins_anew(play: Play) -> None:
    async def story(world: World) -> None:
        await world.bus.hash_set(streams.CRASHES, {"ada": "{"})
        await world.crash()
        assert len(await world.told()) == 1

    play(story)


@pytest.mark.slow
@pytest.mark.parametrize("calls", range(10))
def test_a_crash_that_comes_while_others_are_told_is_told_later(play: Play, calls: int) -> None:
    async def story(world: World) -> None:
        for _ in range(3):
            await world.crash()
        world.now += WINDOW
        with suppress(BusUnavailable):
            async with world.broker(FailingBus(world.bus, fail_at=calls)) as (_, crashes):
                await crashes.tell_due()
        world.now -= timedelta(seconds=1)  # as it is told late, or by another clock
        await world.crash()
        await world.after(2 * WINDOW)
        await world.after(WINDOW)
        counts = [re.search(r"crashed (once|\d+) more", message.body) for message in await world.told()]
        assert sum(1 if not found or found[1] == "once" else int(found[1]) for found in counts) == 4

    play(story)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("calls", range(16))
def test_wherever_the_broker_dies_each_crash_is_told_or_counted_once(play: Play, calls: int, *, after: bool) -> None:
    """Three crashes in one batch, and the end of the window; the broker fails at one call, another one goes on."""

    async def story(world: World) -> None:
        entries = [await world.taken(ContainerCrashed(agent="ada")) for _ in range(3)]

        async def all_of_it(bus: Bus) -> None:
            async with world.broker(bus) as (notifier, crashes):
                world.now = START
                await notifier.handle(entries)
                world.now = START + WINDOW
                await crashes.tell_due()

        try:
            await all_of_it(FailingBus(world.bus, fail_at=calls, after=after))
        except BusUnavailable:
            await all_of_it(world.bus)
        first, summary = await world.told()
        assert "ended" in first.body
        assert "crashed 2 more times" in summary.body

    play(story)
