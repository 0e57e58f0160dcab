"""Questions: who may ask, answer and cancel, and what the asker is told.

The answer is recorded by one conditional update; then it is delivered as a message from `system`, whose id follows
from the question's. A request that comes again after a crash finds its own mark and tells the same again.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hive_broker.courier import Clock, Courier, excerpt
from hive_broker.directory import Directory
from hive_broker.limits import Limits
from hive_broker.mail import SOURCE
from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import NotFound, Refused, UnknownRecipient
from hive_contracts.ids import message_id, question_id
from hive_contracts.messages import About, Message
from hive_contracts.names import OPERATOR, SYSTEM
from hive_contracts.questions import (
    CANCELLED,
    EXPIRED,
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionAnswered,
    QuestionAsked,
    QuestionCancelled,
    QuestionExpired,
    QuestionState,
    QuestionView,
    check_answer,
    check_question,
)
from hive_runtime.bus import Append
from hive_runtime.records.messages import MessageWriter, from_milliseconds
from hive_runtime.records.threads import Question, ThreadWriter

HOW_TO_SEE: Final = "`open_threads` lists yours"


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out: the thread's id, a note for who asked, and what to tell those who watch."""

    id: str
    note: str = ""
    tell: list[Append] = field(default_factory=list)


class Questions:
    """Every method may be repeated with the same key. Raises `HiveError` for what is refused, and `Unavailable`."""

    def __init__(  # noqa: PLR0913 - what a question stands on
        self,
        *,
        threads: ThreadWriter,
        messages: MessageWriter,
        courier: Courier,
        directory: Directory,
        clock: Clock,
        limits: Limits,
        most_open: int,
    ) -> None:
        self._threads = threads
        self._messages = messages
        self._courier = courier
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._most_open = most_open

    async def ask(self, asker: str, key: str, wish: AskQuestion) -> Done:
        new_id = question_id(asker, key)
        question = self._threads.question(new_id)
        if question is None:
            await self._check(new_id, asker, wish)
            self._record(new_id, asker, wish)
            question = self._find(new_id)
            self._limits.count(asker, wish.to, question.trace_id)
        tell = [_fact(_asked(question.view), question, "asked")]
        if question.view.to != OPERATOR and question.view.state is QuestionState.OPEN:
            tell.append(await self._courier.deliver(_to_addressee(question, key)))
        return Done(new_id, self._note_on(question.view.to), tell)

    async def answer(self, answerer: str, key: str, wish: AnswerQuestion) -> Done:
        question = self._find(wish.id)
        if answerer not in {question.view.to, OPERATOR}:
            raise Refused(f"only {_who(question.view.to)} may answer {wish.id}")
        answer = check_answer(wish.answer)
        question = self._close(question, QuestionState.ANSWERED, by=answerer, key=key, answer=answer)
        fact = _answered(question.view)
        message = _to_asker(question, fact, f"was answered by {answerer}")
        return Done(wish.id, "", [_fact(fact, question, "answered"), await self._courier.deliver(message)])

    async def cancel(self, by: str, key: str, wish: CancelQuestion) -> Done:
        """An asker that cancels by itself knows, and is not woken."""
        question = self._find(wish.id)
        if by not in {question.view.asker, OPERATOR}:
            raise Refused(f"only {_who(question.view.asker)} may cancel {wish.id}")
        view = (question := self._close(question, QuestionState.CANCELLED, by=by, key=key)).view
        fact = QuestionCancelled(id=view.id, asker=view.asker, question=view.question, by=by)
        tell = [_fact(fact, question, "cancelled")]
        if by != view.asker:
            told = QuestionAnswered(id=view.id, question=view.question, answer=CANCELLED, answerer=by)
            tell.append(await self._courier.deliver(_to_asker(question, told, f"was cancelled by {by}")))
        return Done(wish.id, "", tell)

    async def tell_expired(self) -> None:
        """Tell the askers of expired questions that do not know yet; who is not there is told once they are."""
        for question in self._threads.untold_questions():
            view = question.view
            if view.asker not in self._directory.principals():
                continue
            told = QuestionAnswered(id=view.id, question=view.question, answer=EXPIRED, answerer=SYSTEM)
            delivered = await self._courier.deliver(_to_asker(question, told, "was not answered in time"))
            fact = QuestionExpired(id=view.id, asker=view.asker, question=view.question)
            await self._courier.write([_fact(fact, question, "expired"), delivered])
            self._threads.told(view.id)

    async def _check(self, new_id: str, asker: str, wish: AskQuestion) -> None:
        check_question(wish.question, wish.options)
        if wish.to == asker:
            raise Refused("you cannot ask yourself; write a note in your state directory instead")
        if wish.to not in self._directory.principals():
            await self._directory.refresh()
        if wish.to not in self._directory.principals():
            known = ", ".join(sorted(self._directory.principals() - {asker}))
            raise UnknownRecipient(f"there is nobody called {wish.to[:100]!r} here; there are {known}")
        if self._threads.count_open(asker) >= self._most_open:
            raise Refused(
                f"{self._most_open} of your questions are open, that is the limit; wait for answers, or take some "
                "back with `cancel_thread`"
            )
        self._limits.check(asker, wish.to, *self._conversation(new_id, asker, wish.cause))

    def _conversation(self, new_id: str, asker: str, cause_id: str | None) -> tuple[str, int]:
        """Trace and hop. The operator's word begins the count anew, as in `Admission.hop`."""
        cause = self._messages.find(cause_id, asker) if cause_id else None
        if cause is None:
            return new_id, 0
        return cause.trace_id, 0 if asker == OPERATOR else cause.hop + 1

    def _record(self, new_id: str, asker: str, wish: AskQuestion) -> None:
        now = self._clock()
        expires_at = None if wish.ttl_seconds is None else now + round(wish.ttl_seconds * 1000)
        trace_id, hop = self._conversation(new_id, asker, wish.cause)
        view = QuestionView(
            id=new_id,
            asker=asker,
            to=wish.to,
            question=wish.question,
            options=wish.options,
            multi=wish.multi,
            asked_at=from_milliseconds(now),
        )
        self._threads.ask(Question(view, trace_id, hop), asked_at=now, expires_at=expires_at)

    def _find(self, wanted: str) -> Question:
        found = self._threads.question(wanted)
        if found is None:
            raise NotFound(f"there is no question {wanted[:64]!r}; {HOW_TO_SEE}")
        return found

    def _close(self, question: Question, state: QuestionState, *, by: str, key: str, answer: str = "") -> Question:
        """Close it, or find that this very request did. Raises `Refused` when it was closed otherwise."""
        mark = f"{by} {key}"
        now = self._clock()
        self._threads.close_question(question.view.id, state, answer=answer, answerer=by, closed_by=mark, at=now)
        found = self._find(question.view.id)
        if found.closed_by != mark:
            raise Refused(_why_closed(found.view))
        return found

    def _note_on(self, name: str) -> str:
        record = self._directory.get(name)
        if record and record.desired is Desired.STOPPED:
            return f"{name} is stopped; the question waits in its inbox until it is started"
        return ""


def _who(name: str) -> str:
    return "the operator" if name == OPERATOR else f"{name} or the operator"


def _why_closed(view: QuestionView) -> str:
    match view.state:
        case QuestionState.ANSWERED:
            return f"{view.id} was answered already, by {view.answerer}: {excerpt(view.answer)!r}"
        case QuestionState.CANCELLED:
            return f"{view.id} was cancelled by {view.answerer}; nobody waits for an answer any more"
        case _:
            return f"{view.id} has expired{_at(view.expires_at)}; nobody waits for an answer any more"


def _at(time: datetime | None) -> str:
    return f" ({time:%Y-%m-%d %H:%M:%S} UTC)" if time else ""


def _asked(view: QuestionView) -> QuestionAsked:
    return QuestionAsked.model_validate(view.model_dump())


def _answered(view: QuestionView) -> QuestionAnswered:
    return QuestionAnswered(id=view.id, question=view.question, answer=view.answer, answerer=view.answerer)


def _to_addressee(question: Question, key: str) -> Message:
    """The question as a message of the asker, with how to answer it."""
    view = question.view
    choice = "Choose any number of these" if view.multi else "Choose one of these"
    listed = "\n".join(f"- {option}" for option in view.options)
    options = f"\n\n{choice}, or answer in your own words:\n{listed}" if view.options else ""
    until = f", before {view.expires_at:%Y-%m-%d %H:%M:%S} UTC" if view.expires_at else ""
    return Message(
        id=message_id(view.asker, f"question {key}", view.to),
        sender=view.asker,
        recipient=view.to,
        body=f"{view.question}{options}\n\n(Question {view.id}: answer it with the tool `answer` and this id{until}.)",
        sent_at=view.asked_at,
        trace_id=question.trace_id,
        hop=question.hop,
        about=_about(_asked(view), view.id),
    )


def _to_asker(question: Question, fact: QuestionAnswered, what: str) -> Message:
    view = question.view
    return Message(
        id=message_id(SYSTEM, f"{view.id}:answered", view.asker),
        sender=SYSTEM,
        recipient=view.asker,
        body=f"Your question {view.id} {what}.\nQuestion: {excerpt(view.question)}\nAnswer:\n{fact.answer}",
        sent_at=view.closed_at or view.asked_at,
        trace_id=question.trace_id,
        hop=0 if fact.answerer == OPERATOR else question.hop + 1,  # a person's word is no loop
        about=_about(fact, view.id),
    )


def _about(fact: Payload, thread_id: str) -> About:
    return About(kind=fact.TYPE, id=thread_id, data=fact.model_dump(mode="json"))


def _fact(fact: Payload, question: Question, step: str) -> Append:
    view = question.view
    envelope = Envelope.of(
        fact,
        source=SOURCE,
        id=f"{view.id}:{step}",
        subject=view.id,
        trace_id=question.trace_id,
        hop=question.hop,
    )
    return Append(streams.EVENTS, envelope)
