"""A store of messages that was lost is made again with what `hive:events` tells: questions, reminders and tries too."""

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, record_all, send
from tests.broker.test_record import _turn
from tests.broker.threads_rig import Rig, with_rig
from tests.support.failing_bus import FailingBus

from hive_broker.record import Record
from hive_contracts import streams
from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MessageState
from hive_contracts.questions import AnswerQuestion, AskQuestion, CancelQuestion, QuestionState, ThreadAccepted
from hive_contracts.reminders import CancelReminder, SetReminder
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import MessageWriter
from hive_runtime.store import Store


async def lose(bus: Bus, path: Path) -> None:
    """As if the disk had; something is told afterwards, which the record takes up."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    await bus.append(streams.EVENTS, Envelope(source="another", type="another"))


async def asked(rig: Rig, who: str, wish: AskQuestion | SetReminder) -> str:
    answer = await rig.ask_for(who, wish)
    assert isinstance(answer, ThreadAccepted)
    return answer.id


def test_questions_come_back_as_they_were_told(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        open_ = await asked(rig, "ada", AskQuestion(question="which?", options=("a", "b"), multi=True, ttl_seconds=60))
        answered = await asked(rig, "ada", AskQuestion(question="when?", to="lin"))
        await rig.ask_for("lin", AnswerQuestion(id=answered, answer="now"))
        taken_back = await asked(rig, "eve", AskQuestion(question="who?"))
        await rig.ask_for("operator", CancelQuestion(id=taken_back))
        expired = await asked(rig, "lin", AskQuestion(question="soon?", ttl_seconds=1))
        rig.time.pass_by(2)
        await rig.tick()
        before = {view.id: view for view in rig.records.recent()}

        rig.close()
        await lose(rig.bus, rig.path)
        rig.open()
        await rig.record()
        after = {view.id: view for view in rig.records.recent()}
        assert after.keys() == {open_, answered, taken_back, expired}
        for name, view in after.items():
            times = {"asked_at": view.asked_at, "closed_at": view.closed_at}  # as they were told, not as recorded
            assert view == before[name].model_copy(update=times)
            assert (view.closed_at is None) == (view.state is QuestionState.OPEN)

        await rig.ask_for("operator", AnswerQuestion(id=open_, answer="a"))
        assert [message.body.splitlines()[-1] for message in await rig.inbox("ada")][-1] == "a"
        inboxes = [await rig.inbox(name) for name in ("ada", "lin", "eve")]
        rig.time.pass_by(100)
        await rig.tick()
        assert [await rig.inbox(name) for name in ("ada", "lin", "eve")] == inboxes

    with_rig(tmp_path, scenario)


def test_reminders_come_back_and_come_once(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        came = await asked(rig, "ada", SetReminder(message="first", delay_seconds=1))
        waits = await asked(rig, "ada", SetReminder(message="second", delay_seconds=600))
        dropped = await asked(rig, "ada", SetReminder(message="third", delay_seconds=600))
        await rig.ask_for("ada", CancelReminder(id=dropped))
        rig.time.pass_by(2)
        await rig.tick()
        assert len(await rig.inbox("ada")) == 1

        rig.close()
        await lose(rig.bus, rig.path)
        rig.open()
        await rig.record()
        assert [view.id for view in rig.store.reminders("ada", limit=9)] == [waits]
        assert rig.store.reminder(came)
        rig.time.pass_by(3600)
        await rig.tick()
        bodies = [message.body for message in await rig.inbox("ada")]
        assert len(bodies) == 2
        assert "second" in bodies[1]

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("step", range(2))
def test_a_crash_while_they_are_brought_back_is_made_good(tmp_path: Path, step: int) -> None:
    async def scenario(rig: Rig) -> None:
        name = await asked(rig, "ada", AskQuestion(question="still there?"))
        await rig.record()
        rig.close()
        await lose(rig.bus, rig.path)
        rig.open()
        dead = Post(rig.bus, rig.messages, rig.directory, rig.path).dead_letters()
        with pytest.raises(BusUnavailable):
            await record_all(rig.bus, Record(FailingBus(rig.bus, fail_at=step), rig.messages, dead))
        await record_all(rig.bus, Record(rig.bus, rig.messages, dead), again=True)
        assert [view.id for view in rig.records.open_to("operator")] == [name]

    with_rig(tmp_path, scenario)


def test_tries_that_were_told_count_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        post = await Post.open(MemoryBus(), tmp_path, "ada", "lin")
        await post.post("ada", send("lin", key="k"))
        name = message_id("ada", "k", "lin")
        for number in range(3):
            await _turn(post, "lin", name, turn=f"t{number}", outcome=TurnOutcome.ENGINE_CRASHED)
        await _turn(post, "lin", name, turn="limited", outcome=TurnOutcome.RATE_LIMITED)  # which is not its fault
        await post.record()
        post.messages.close()
        await lose(post.bus, post.path)
        post = replace(post, messages=MessageWriter(post.path))
        with closing(post.messages):
            await post.record()
            view = post.records.get(name)
            assert view
            assert (view.state, view.attempts, tries_of(post.messages.store, name)) == (MessageState.FAILED, 4, 3)
            await _turn(post, "lin", name, turn="t4", outcome=TurnOutcome.ENGINE_CRASHED)
            assert len(await inbox(post.bus, "lin")) == 1
            await _turn(post, "lin", name, turn="t5", outcome=TurnOutcome.ENGINE_CRASHED)
            view = post.records.get(name)
            assert view
            assert view.state is MessageState.DEAD

    asyncio.run(scenario())


def tries_of(store: Store, name: str) -> int:
    with store.reading() as db:
        return int(db.execute("SELECT tries FROM messages WHERE id = :id", {"id": name}).fetchone()[0])
