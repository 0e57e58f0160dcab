"""Reminders: delivered once, at their time or as soon as it can be, unless they were taken back."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.broker.post import told_as
from tests.broker.threads_rig import START_MS, Rig, with_rig
from tests.support.failing_bus import FailingBus
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.questions import ThreadAccepted, ThreadRefused
from hive_contracts.reminders import CancelReminder, ReminderDue, SetReminder
from hive_runtime.errors import BusUnavailable

START = datetime.fromtimestamp(START_MS / 1000, UTC)


async def remind(rig: Rig, message: str = "look again", *, delay: float = 60, key: str = "") -> str:
    answer = await rig.ask_for("ada", SetReminder(message=message, delay_seconds=delay), key=key)
    assert isinstance(answer, ThreadAccepted)
    return answer.id


async def bodies(rig: Rig) -> list[str]:
    return [message.body for message in await rig.inbox("ada")]


def test_a_reminder_comes_when_its_time_has_come_and_once(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        reminder = await remind(rig)
        await rig.tick()
        assert await bodies(rig) == []
        rig.time.pass_by(60)
        await rig.tick()
        rig.restart()
        await rig.tick()
        (message,) = await rig.inbox("ada")
        assert (message.sender, message.body) == ("system", f"Reminder {reminder}:\nlook again")
        assert message.about
        assert (message.about.kind, message.about.id) == ("reminder.due", reminder)

    with_rig(tmp_path, scenario)


def test_a_late_reminder_says_so(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await remind(rig, "just in time")
        await remind(rig, "late", delay=30)
        rig.time.pass_by(120)
        rig.restart()
        await rig.tick()
        late, in_time = await rig.inbox("ada")
        assert late.body.startswith("Reminder r-")
        assert ", late: it was due at 2027-01-15 08:00:30 UTC, now it is 2027-01-15 08:02:00 UTC:\nlate" in late.body
        assert "late" not in in_time.body
        assert [fact.late for fact in await told_as(rig.bus, streams.EVENTS, ReminderDue)] == [True, False]

    with_rig(tmp_path, scenario)


def test_a_time_may_be_given_instead_of_a_delay(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        naive = (START + timedelta(seconds=10)).replace(tzinfo=None)
        for at in (START - timedelta(days=1), naive, START + timedelta(seconds=20)):
            await rig.ask_for("ada", SetReminder(message=f"at {at:%H:%M:%S}", at=at))
        for expected in (1, 2, 3):
            await rig.tick()
            assert len(await bodies(rig)) == expected
            rig.time.pass_by(10)

    with_rig(tmp_path, scenario)


def test_a_cancelled_reminder_never_comes(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for who in ("ada", "operator"):
            reminder = await remind(rig)
            assert isinstance(await rig.ask_for("lin", CancelReminder(id=reminder)), ThreadRefused)
            assert isinstance(await rig.ask_for(who, CancelReminder(id=reminder)), ThreadAccepted)
            again = await rig.ask_for("ada", CancelReminder(id=reminder))
            assert isinstance(again, ThreadRefused)
            assert "cancelled already" in again.reason
        rig.time.pass_by(3600)
        await rig.tick()
        assert await bodies(rig) == []

    with_rig(tmp_path, scenario)


def test_a_reminder_that_came_cannot_be_cancelled(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        reminder = await remind(rig, delay=0)
        await rig.tick()
        refused = await rig.ask_for("ada", CancelReminder(id=reminder))
        assert isinstance(refused, ThreadRefused)
        assert "has come already" in refused.reason

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (SetReminder(message="x"), "either `delay_seconds` or `at`"),
        (SetReminder(message="x", delay_seconds=1, at=START), "either `delay_seconds` or `at`"),
        (SetReminder(message="x", at=START + timedelta(days=400)), "more than a year"),
        (SetReminder(message=" ", delay_seconds=1), "empty"),
        (SetReminder(message="x" * 4097, delay_seconds=1), "4096"),
    ],
)
def test_what_cannot_be_reminded_of_is_refused(tmp_path: Path, wish: SetReminder, says: str) -> None:
    async def scenario(rig: Rig) -> None:
        refused = await rig.ask_for("ada", wish)
        assert isinstance(refused, ThreadRefused)
        assert says in refused.reason

    with_rig(tmp_path, scenario)


def test_reminders_are_limited_per_agent_and_a_repeated_key_sets_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.most_reminders = 2
        assert await remind(rig, key="a") == await remind(rig, key="a")
        await remind(rig, key="b")
        refused = await rig.ask_for("ada", SetReminder(message="x", delay_seconds=1))
        assert isinstance(refused, ThreadRefused)
        assert "2 of your reminders wait" in refused.reason

    with_rig(tmp_path, scenario)


def test_who_is_not_there_gets_the_reminder_once_they_are(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await remind(rig, delay=0)
        record = (await rig.bus.hash_all(streams.AGENTS))["ada"]
        await rig.bus.hash_delete(streams.AGENTS, ["ada"])
        await rig.directory.refresh()
        await rig.tick()
        assert await bodies(rig) == []
        await rig.bus.hash_set(streams.AGENTS, {"ada": record})
        await rig.directory.refresh()
        await rig.tick()
        assert len(await bodies(rig)) == 1

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_reminds_once(tmp_path: Path, *, after: bool) -> None:
    async def scenario(rig: Rig) -> None:
        for step in range(40):
            await remind(rig, f"number {step}", delay=1)
            rig.time.pass_by(1)
            try:
                await rig.tick(FailingBus(rig.bus, fail_at=step, after=after))
                break
            except BusUnavailable:
                rig.restart()
                await rig.tick()
        else:
            raise AssertionError("it never ran to its end")
        assert step >= 3
        assert [body.splitlines()[-1] for body in await bodies(rig)] == [f"number {n}" for n in range(step + 1)]

    with_rig(tmp_path, scenario)


def test_the_scheduler_sleeps_until_something_is_due_and_wakes_for_something_sooner(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        threads = rig.threads()
        running = asyncio.create_task(threads.scheduler.run())
        try:
            await remind(rig, "far", delay=3000)
            await remind(rig, "near", delay=0)
            threads.scheduler.wake()
            await eventually(lambda: _has(rig, 1))
        finally:
            running.cancel()
            await asyncio.wait([running])

    with_rig(tmp_path, scenario)


async def _has(rig: Rig, count: int) -> bool:
    return len(await rig.inbox("ada")) == count
