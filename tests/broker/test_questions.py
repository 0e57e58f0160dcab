"""Questions: from asking to the answer, who may do what, and what a crash or an absence changes about it: nothing."""

from pathlib import Path

import pytest
from tests.broker.post import told, told_as
from tests.broker.threads_rig import Rig, with_rig
from tests.support.failing_bus import FailingBus

from hive_broker.config import BrokerSettings
from hive_broker.limits import Limits
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import question_id
from hive_contracts.messages import MAX_BODY_BYTES, About, Message
from hive_contracts.questions import (
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
    QuestionState,
    ThreadAccepted,
    ThreadRefused,
)
from hive_contracts.reminders import ListThreads, SetReminder, ThreadsListed
from hive_runtime.errors import BusUnavailable


async def asked(rig: Rig, to: str = "operator", *, key: str = "k", by: str = "ada", ttl: float | None = None) -> str:
    answer = await rig.ask_for(
        by, AskQuestion(question="Which one?", options=("A", "B"), to=to, ttl_seconds=ttl), key=key
    )
    assert isinstance(answer, ThreadAccepted)
    return answer.id


def about(message: Message) -> About:
    assert message.about
    return message.about


def answered(message: Message) -> QuestionAnswered:
    return QuestionAnswered.model_validate(about(message).data)


def state(rig: Rig, question: str) -> QuestionState:
    found = rig.records.get(question)
    assert found
    return found.state


def test_the_operators_answer_reaches_the_asker_with_the_question(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig)
        assert question == question_id("ada", "k")
        assert [view.id for view in rig.records.open_to("operator")] == [question]
        done = await rig.ask_for("operator", AnswerQuestion(id=question, answer="neither, C"))
        assert done == ThreadAccepted(id=question)
        (message,) = await rig.inbox("ada")
        assert (message.sender, about(message).kind) == ("system", "question.answered")
        fact = QuestionAnswered(id=question, question="Which one?", answer="neither, C", answerer="operator")
        assert answered(message) == fact
        assert message.body.endswith("Question: Which one?\nAnswer:\nneither, C")
        assert await told_as(rig.bus, streams.EVENTS, QuestionAnswered) == [fact]
        assert rig.records.open_to("operator") == []

    with_rig(tmp_path, scenario)


def test_a_question_to_an_agent_arrives_as_its_message_and_says_how_to_answer(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin")
        (message,) = await rig.inbox("lin")
        assert message.sender == "ada"
        assert about(message).id == question
        assert message.body.startswith("Which one?\n\nChoose one of these, or answer in your own words:\n- A\n- B\n")
        assert f"Question {question}: answer it with the tool `answer`" in message.body
        assert isinstance(await rig.ask_for("lin", AnswerQuestion(id=question, answer="A")), ThreadAccepted)
        (told_ada,) = await rig.inbox("ada")
        assert (answered(told_ada).answer, answered(told_ada).answerer) == ("A", "lin")
        assert told_ada.trace_id == message.trace_id

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("who", ["ada", "eve"])
def test_only_the_addressee_and_the_operator_may_answer(tmp_path: Path, who: str) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin")
        refused = await rig.ask_for(who, AnswerQuestion(id=question, answer="mine"))
        assert isinstance(refused, ThreadRefused)
        assert refused.reason == f"only lin or the operator may answer {question}"
        assert await rig.inbox("ada") == []
        assert isinstance(await rig.ask_for("operator", AnswerQuestion(id=question, answer="B")), ThreadAccepted)

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("who", ["lin", "eve"])
def test_only_the_asker_and_the_operator_may_cancel(tmp_path: Path, who: str) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin")
        refused = await rig.ask_for(who, CancelQuestion(id=question))
        assert isinstance(refused, ThreadRefused)
        assert state(rig, question) is QuestionState.OPEN
        assert isinstance(await rig.ask_for("operator", CancelQuestion(id=question)), ThreadAccepted)
        (message,) = await rig.inbox("ada")
        assert (answered(message).answer, answered(message).answerer) == ("[cancelled]", "operator")

    with_rig(tmp_path, scenario)


def test_an_asker_that_cancels_is_not_woken_by_it(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig)
        assert isinstance(await rig.ask_for("ada", CancelQuestion(id=question)), ThreadAccepted)
        assert state(rig, question) is QuestionState.CANCELLED
        assert await rig.inbox("ada") == []

    with_rig(tmp_path, scenario)


def test_a_second_answer_is_refused_and_names_the_first(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin")
        await rig.ask_for("lin", AnswerQuestion(id=question, answer="A"))
        for late in (AnswerQuestion(id=question, answer="B"), CancelQuestion(id=question)):
            refused = await rig.ask_for("operator", late)
            assert isinstance(refused, ThreadRefused)
            assert refused.reason == f"{question} was answered already, by lin: 'A'"
        assert len(await rig.inbox("ada")) == 1

    with_rig(tmp_path, scenario)


def test_time_runs_on_while_the_broker_is_down(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, ttl=60)
        await rig.tick()
        assert state(rig, question) is QuestionState.OPEN
        rig.close()
        rig.time.pass_by(61)
        rig.open()
        await rig.tick()
        await rig.tick()
        (message,) = await rig.inbox("ada")
        assert (answered(message).answer, answered(message).answerer) == ("[expired]", "system")
        assert [fact.id for fact in await told_as(rig.bus, streams.EVENTS, QuestionExpired)] == [question]

    with_rig(tmp_path, scenario)


def test_an_answer_after_the_time_is_late_even_before_the_expiry_was_told(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, ttl=60)
        rig.time.pass_by(60)
        refused = await rig.ask_for("operator", AnswerQuestion(id=question, answer="A"))
        assert isinstance(refused, ThreadRefused)
        assert "has expired" in refused.reason
        await rig.tick()
        assert [answered(message).answer for message in await rig.inbox("ada")] == ["[expired]"]

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize(
    ("wish", "code", "says"),
    [
        (AskQuestion(question=" "), "invalid_body", "the question is empty"),
        (AskQuestion(question="x" * (MAX_BODY_BYTES + 1)), "body_too_long", "limit is 4096"),
        (AskQuestion(question="x", options=("A", "A")), "invalid_body", "twice"),
        (AskQuestion(question="x", options=("",)), "invalid_body", "one line"),
        (AskQuestion(question="x", options=tuple(map(str, range(21)))), "invalid_body", "the limit is 20"),
        (AskQuestion(question="x", to="bob"), "unknown_recipient", "there are eve, lin, operator"),
        (AskQuestion(question="x", to="ada"), "refused", "ask yourself"),
        (AnswerQuestion(id="q-nothing", answer="x"), "not_found", "no question"),
        (CancelQuestion(id="q-nothing"), "not_found", "no question"),
    ],
)
def test_what_cannot_be_done_is_refused_and_says_why(
    tmp_path: Path, wish: AskQuestion | AnswerQuestion | CancelQuestion, code: str, says: str
) -> None:
    async def scenario(rig: Rig) -> None:
        refused = await rig.ask_for("ada", wish)
        assert isinstance(refused, ThreadRefused)
        assert refused.code == code
        assert says in refused.reason
        assert rig.records.recent() == []

    with_rig(tmp_path, scenario)


def test_an_answer_of_the_wrong_size_leaves_the_question_open(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig)
        for text in (" ", "x" * (MAX_BODY_BYTES + 1)):
            assert isinstance(await rig.ask_for("operator", AnswerQuestion(id=question, answer=text)), ThreadRefused)
        assert state(rig, question) is QuestionState.OPEN

    with_rig(tmp_path, scenario)


def test_open_questions_are_limited_per_agent_but_a_repeated_ask_is_not_a_new_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.most_open = 2
        for key in ("1", "2", "2"):
            first = await asked(rig, key=key)
        refused = await rig.ask_for("ada", AskQuestion(question="one more"))
        assert isinstance(refused, ThreadRefused)
        assert "2 of your questions are open" in refused.reason
        await rig.ask_for("operator", AnswerQuestion(id=first, answer="A"))
        await asked(rig, key="3")
        await asked(rig, by="lin", key="4")

    with_rig(tmp_path, scenario)


def test_a_key_used_again_keeps_the_question_that_it_made(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin", key="same")
        again = await rig.ask_for("ada", AskQuestion(question="Another?", to="eve"), key="same")
        assert again == ThreadAccepted(id=question)
        assert [view.question for view in rig.records.recent()] == ["Which one?"]
        assert len(await rig.inbox("lin")) == 1
        assert await rig.inbox("eve") == []

    with_rig(tmp_path, scenario)


def test_open_threads_are_listed_for_both_sides(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        question = await asked(rig, "lin")
        await rig.ask_for("ada", SetReminder(message="look again", delay_seconds=60))
        mine = await rig.ask_for("ada", ListThreads())
        theirs = await rig.ask_for("lin", ListThreads())
        assert isinstance(mine, ThreadsListed)
        assert isinstance(theirs, ThreadsListed)
        assert [view.id for view in mine.asked] == [question]
        assert [reminder.message for reminder in mine.reminders] == ["look again"]
        assert [view.id for view in theirs.to_answer] == [question]
        assert (mine.to_answer, theirs.asked, theirs.reminders) == ((), (), ())

    with_rig(tmp_path, scenario)


def test_a_broken_request_is_refused_instead_of_left_unanswered(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        broken = Envelope(id="k", source="ada", type=AnswerQuestion.TYPE, data={"id": 7})
        await rig.bus.append(streams.outbox("ada"), broken)
        await rig.handle("ada", await rig.take("ada"))
        refused = await rig.answer_to("ada", "k")
        assert isinstance(refused, ThreadRefused)
        assert refused.code == "invalid_body"
        assert await rig.bus.depth(streams.outbox("ada")) == 0

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_asks_and_answers_once(tmp_path: Path, *, after: bool) -> None:
    async def scenario(rig: Rig) -> None:
        for step in range(40):
            key = f"k{step}"
            question = question_id("ada", key)
            wishes = (
                ("ada", AskQuestion(question=f"q{step}", to="lin")),
                ("lin", AnswerQuestion(id=question, answer="A")),
            )
            crashed = False
            for who, wish in wishes:
                await rig.post(who, wish, key=key)
                bus = FailingBus(rig.bus, fail_at=step, after=after)
                try:
                    await rig.handle(who, await rig.take(who), bus)
                except BusUnavailable:
                    crashed = True
                    rig.restart()
                    await rig.handle(who, await rig.take(who, again=True))
                assert isinstance(await rig.answer_to(who, key), ThreadAccepted)
            lins = [message for message in await rig.inbox("lin") if about(message).id == question]
            adas = [message for message in await rig.inbox("ada") if about(message).id == question]
            assert (len(lins), len(adas)) == (1, 1)
            if not crashed:
                break
        else:
            raise AssertionError("it never ran to its end")
        ids = [item.id for item in await told(rig.bus, streams.EVENTS) if item.type == QuestionAsked.TYPE]
        assert set(ids) == {f"{question_id('ada', f'k{number}')}:asked" for number in range(step + 1)}

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_expires_once(tmp_path: Path, *, after: bool) -> None:
    async def scenario(rig: Rig) -> None:
        for step in range(40):
            question = await asked(rig, key=f"k{step}", ttl=60)
            rig.time.pass_by(61)
            bus = FailingBus(rig.bus, fail_at=step, after=after)
            try:
                await rig.tick(bus)
                break
            except BusUnavailable:
                rig.restart()
                await rig.tick()
            assert len([message for message in await rig.inbox("ada") if about(message).id == question]) == 1
        else:
            raise AssertionError("it never ran to its end")
        assert step >= 3

    with_rig(tmp_path, scenario)


def test_questions_that_follow_from_one_another_for_ever_are_stopped(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        rig.limits = Limits(BrokerSettings(max_hops=4))
        cause = None
        for _ in range(5):
            done = await rig.ask_for("ada", AskQuestion(question="And now?", to="lin", cause=cause))
            if isinstance(done, ThreadRefused):
                break
            assert isinstance(done, ThreadAccepted)
            await rig.ask_for("lin", AnswerQuestion(id=done.id, answer="again"))
            cause = (await rig.inbox("ada"))[-1].id
        assert isinstance(done, ThreadRefused)
        assert (done.code, done.retry) == ("loop_guard", False)

    with_rig(tmp_path, scenario)
