"""An agent that was purged leaves nothing that waits for it, and nothing that the next one of its name would get."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.broker.post import Post, inbox, register, send
from tests.broker.threads_rig import Rig, with_rig

from hive_contracts import streams
from hive_contracts.agents import AgentPurged
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MessageState
from hive_contracts.names import MANAGER
from hive_contracts.questions import AskQuestion, QuestionAnswered, QuestionState
from hive_contracts.reminders import SetReminder
from hive_runtime.bus import Bus
from hive_runtime.records.messages import from_milliseconds

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


async def purge(bus: Bus, agent: str, *, at: datetime | None = None) -> None:
    """As the supervisor tells it."""
    await bus.hash_delete(streams.AGENTS, [agent])
    fact = Envelope.of(AgentPurged(agent=agent), source="supervisor", time=at or datetime.now(UTC))
    await bus.append(streams.EVENTS, fact)


def test_what_waits_for_it_becomes_a_dead_letter_of_which_nobody_is_woken(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        post = await Post.open(bus, tmp_path, "ada", "lin", MANAGER)
        await post.post("lin", send("ada", "too late", key="k"))
        await purge(bus, "ada")
        await post.record()
        await post.directory.refresh()
        await post.dead_letters().bury()
        (dead,) = post.records.dead()
        assert dead.steps[-1].detail == "ada was purged"
        for name in ("lin", MANAGER):
            (notice,) = await inbox(bus, name)
            assert "ada was purged" in notice.body
            assert notice.context_only
        post.messages.close()

    on_bus(scenario)


def test_one_made_later_keeps_what_is_its_own(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        post = await Post.open(bus, tmp_path, "ada", "lin", MANAGER)
        await purge(bus, "ada", at=datetime.fromtimestamp(0, UTC))  # the twin's entries count from there
        await register(bus, "ada")
        await post.directory.refresh()
        await post.post("lin", send("ada", "to the new one", key="k"))
        found = post.records.get(message_id("lin", "k", "ada"))
        assert found
        assert found.state is MessageState.DELIVERED
        post.messages.close()

    on_bus(scenario)


def test_its_questions_and_reminders_are_cancelled_and_who_asked_it_hears_that_nobody_answers(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        asked = await rig.ask_for("ada", AskQuestion(question="may I?"))
        await rig.ask_for("ada", SetReminder(message="look again", delay_seconds=60))
        waits = await rig.ask_for("lin", AskQuestion(question="will you?", to="ada"))
        await purge(rig.bus, "ada", at=from_milliseconds(rig.time.now + 1))
        await rig.record()
        await rig.record()
        assert rig.store.count_open("ada") == rig.store.count_waiting("ada") == 0
        assert not rig.records.open_to("operator")

        await register(rig.bus, "ada")  # another one
        await rig.directory.refresh()
        rig.time.pass_by(100)
        before = await rig.inbox("ada")
        await rig.tick()
        assert await rig.inbox("ada") == before
        told = (await rig.inbox("lin"))[-1]
        assert told.about
        assert QuestionAnswered.model_validate(told.about.data).answer == "[expired]"
        states = {view.id: view.state for view in rig.records.recent()}
        assert states[getattr(waits, "id", "")] is QuestionState.EXPIRED
        assert states[getattr(asked, "id", "")] is QuestionState.CANCELLED

    with_rig(tmp_path, scenario)


def test_who_asked_it_is_not_told_that_time_ran_out(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask_for("lin", AskQuestion(question="will you?", to="ada", ttl_seconds=3600))
        await purge(rig.bus, "ada", at=from_milliseconds(rig.time.now + 1))
        await rig.record()
        await rig.directory.refresh()
        await rig.tick()
        told = (await rig.inbox("lin"))[-1]
        assert "is not answered: ada is gone" in told.body

    with_rig(tmp_path, scenario)
