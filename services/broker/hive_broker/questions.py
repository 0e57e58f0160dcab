"""Questions: who may ask, answer and cancel, and what the asker is told.

The answer is recorded by one conditional update; then it is delivered as a message from `system`, whose id follows
from the question's. A request that comes again after a crash finds its own mark and tells the same again.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.mail import SOURCE, Clock, Mail, excerpt
from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import LoopGuard, NotFound, Refused
from hive_contracts.ids import message_id, question_id
from hive_contracts.messages import About, Message
from hive_contracts.names import OPERATOR, SYSTEM
from hive_contracts.permissions import PatternProposed
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
    check_permission,
    check_question,
)
from hive_runtime.bus import Append
from hive_runtime.records.messages import from_milliseconds
from hive_runtime.records.threads import Question, ThreadWriter

HOW_TO_SEE: Final = "`open_threads`, or `hive questions`, lists what is open"


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
        known: Known,
        mail: Mail,
        directory: Directory,
        clock: Clock,
        limits: Limits,
        depths: Depths,
        loops: LoopReport,
        most_open: int,
    ) -> None:
        self._threads = threads
        self._known = known
        self._mail = mail
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._depths = depths
        self._loops = loops
        self._most_open = most_open

    async def ask(self, asker: str, key: str, wish: AskQuestion) -> Done:
        new_id = question_id(asker, key)
        question = self._threads.question(new_id)
        if question is None:
            question = await self._draft(new_id, asker, wish)
            await self._check(question, key)
            await self._record(question)
            question = self._find(new_id)
            self._limits.count(asker, wish.to, question.trace_id)
            self._depths.add(wish.to)
        tell = [_fact(_asked(question.view), question, "asked")]
        if question.view.permission and question.view.state is not QuestionState.OPEN:
            tell.append(_decided(question.view))  # asked again by a run that repeats this turn
        if question.view.to != OPERATOR and question.view.state is QuestionState.OPEN:
            tell.append(await self._mail.deliver(_to_addressee(question, key)))
        return Done(new_id, self._note_on(question.view.to), tell)

    async def answer(self, answerer: str, key: str, wish: AnswerQuestion) -> Done:
        question = self._find(wish.id)
        if answerer not in {question.view.to, OPERATOR}:
            raise Refused(f"only {_who(question.view.to)} may answer {wish.id}")
        answer = check_answer(wish.answer)
        if question.view.state is QuestionState.OPEN and not question.view.permission:
            await self._check_depth(question.view.asker)
        question = await self._close(question, QuestionState.ANSWERED, by=answerer, key=key, answer=answer)
        fact = _answered(question.view)
        if question.view.permission:
            return Done(wish.id, "", [_fact(fact, question, "answered"), *_proposal(question), _decided(question.view)])
        message = _to_asker(question, fact, f"was answered by {answerer}")
        return Done(wish.id, "", [_fact(fact, question, "answered"), await self._mail.deliver(message)])

    async def cancel(self, by: str, key: str, wish: CancelQuestion) -> Done:
        """An asker that cancels by itself knows, and is not woken."""
        question = self._find(wish.id)
        if by not in {question.view.asker, OPERATOR}:
            raise Refused(f"only {_who(question.view.asker)} may cancel {wish.id}")
        view = (question := await self._close(question, QuestionState.CANCELLED, by=by, key=key)).view
        fact = QuestionCancelled(id=view.id, asker=view.asker, question=view.question, by=by)
        tell = [_fact(fact, question, "cancelled")]
        if view.permission:
            return Done(wish.id, "", [*tell, _decided(view)])
        if by != view.asker:
            tell.append(await self._mail.deliver(_to_asker(question, _answered(view), f"was cancelled by {by}")))
        return Done(wish.id, "", tell)

    async def tell_expired(self) -> None:
        """Tell the askers of expired questions that do not know yet; who is not there is told once they are."""
        for question in self._threads.untold_questions():
            view = question.view
            if view.asker not in self._directory.principals():
                continue
            fact = QuestionExpired(id=view.id, asker=view.asker, question=view.question)
            await self._mail.write([_fact(fact, question, "expired"), await self._tell_asker_expired(question)])
            await asyncio.to_thread(self._threads.told, view.id)

    async def _tell_asker_expired(self, question: Question) -> Append:
        if question.view.permission:
            return _decided(question.view)
        told, to = _answered(question.view), question.view.to
        why = "was not answered in time" if to in self._directory.principals() else f"is not answered: {to} is gone"
        return await self._mail.deliver(_to_asker(question, told, why))

    async def _check(self, question: Question, key: str) -> None:
        view = question.view
        asker, to = view.asker, view.to
        check_question(view.question, view.options)
        if view.permission:
            check_permission(view.permission)
            if to != OPERATOR:
                raise Refused("only the operator permits what a policy does not allow")
        if to == asker:
            raise Refused("you cannot ask yourself; write a note in your state directory instead")
        if to not in self._directory.principals():
            await self._directory.refresh()
        self._directory.check_recipient(asker, to)
        if self._threads.count_open(asker) >= self._most_open:
            raise Refused(
                f"{self._most_open} of your questions are open, that is the limit; wait for answers, or take some "
                "back with `cancel_thread`"
            )
        try:
            self._limits.check(asker, to, question.trace_id, question.hop)
        except LoopGuard as error:
            await self._loops.report(_to_addressee(question, key), str(error))
            raise
        if to != OPERATOR:  # whose questions do not go into an inbox
            await self._check_depth(to)

    async def _check_depth(self, name: str) -> None:
        """Raises `InboxFull`."""
        await self._depths.check(name, on_the_way=0, hard=self._limits.inbox_hard)

    async def _conversation(self, new_id: str, asker: str, cause_id: str | None) -> tuple[str, int]:
        """Trace and hop. The operator's word begins the count anew, as in `Admission.hop`."""
        await self._known.load((), causes=(cause_id,) if cause_id else (), receiver=asker)
        cause = self._known.origin(cause_id, asker) if cause_id else None
        if cause is None:
            return new_id, 0
        return cause.trace_id, 0 if asker == OPERATOR else cause.hop + 1

    async def _draft(self, new_id: str, asker: str, wish: AskQuestion) -> Question:
        now = self._clock()
        expires_at = None if wish.ttl_seconds is None else now + round(wish.ttl_seconds * 1000)
        trace_id, hop = await self._conversation(new_id, asker, wish.cause)
        view = QuestionView(
            id=new_id,
            asker=asker,
            to=wish.to,
            question=wish.question,
            options=wish.options,
            multi=wish.multi,
            asked_at=from_milliseconds(now),
            permission=wish.permission,
            expires_at=None if expires_at is None else from_milliseconds(expires_at),
        )
        return Question(view, trace_id, hop)

    async def _record(self, question: Question) -> None:
        await asyncio.to_thread(self._threads.ask, question)

    def _find(self, wanted: str) -> Question:
        found = self._threads.question(wanted)
        if found is None:
            raise NotFound(f"there is no question {wanted[:64]!r}; {HOW_TO_SEE}")
        return found

    async def _close(
        self, question: Question, state: QuestionState, *, by: str, key: str, answer: str = ""
    ) -> Question:
        """Close it, or find that this very request did. Raises `Refused` when it was closed otherwise."""
        mark, name = f"{by} {key}", question.view.id
        how = {"answer": answer, "answerer": by, "closed_by": mark}
        await asyncio.to_thread(self._threads.close_question, name, state, at=self._clock(), **how)
        found = self._find(name)
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
    """What the asker is told, also of a question that nobody answered."""
    match view.state:
        case QuestionState.CANCELLED:
            answer, answerer = CANCELLED, view.answerer
        case QuestionState.EXPIRED:
            answer, answerer = EXPIRED, SYSTEM
        case _:
            answer, answerer = view.answer, view.answerer
    return QuestionAnswered(id=view.id, question=view.question, answer=answer, answerer=answerer)


def _decided(view: QuestionView) -> Append:
    """The answer to a question of permission, for the tool call that waits; it wakes nobody."""
    envelope = Envelope.of(
        _answered(view), source=SOURCE, id=f"{view.id}:decided", subject=view.id, correlation_id=view.id
    )
    return Append(streams.control(view.asker), envelope)


def _proposal(question: Question) -> list[Append]:
    view = question.view
    if view.permission is None or not view.proposes:
        return []
    fact = PatternProposed(
        agent=view.asker, tool=view.permission.tool, pattern=view.permission.pattern, question_id=view.id
    )
    proposed = _fact(fact, question, "proposed")
    wish = proposed.envelope.model_copy(update={"id": f"{view.id}:pattern", "subject": view.asker})
    return [proposed, Append(streams.COMMANDS_SUPERVISOR, wish)]


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
