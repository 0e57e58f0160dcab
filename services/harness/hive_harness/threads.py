"""The MCP tools for what waits: questions to the operator and to agents, answers, reminders, and the list of them."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import Field

from hive_contracts.envelope import Payload
from hive_contracts.errors import HiveError, InvalidBody
from hive_contracts.ids import new_id
from hive_contracts.messages import MAX_BODY_BYTES, check_body
from hive_contracts.names import OPERATOR
from hive_contracts.questions import (
    MAX_OPTIONS,
    MAX_TTL_S,
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionView,
    ThreadAccepted,
    ThreadRefused,
    check_answer,
    check_question,
)
from hive_contracts.reminders import (
    MAX_DELAY_S,
    CancelReminder,
    ListThreads,
    ReminderView,
    SetReminder,
    ThreadsListed,
)
from hive_harness.errors import NotInTurn
from hive_harness.outgoing import Outgoing, ThreadAnswer, check_name
from hive_harness.tools import OTHER_ARGUMENTS, STOP, Arguments, Tool, ToolAnswer, refusal
from hive_harness.turn import CurrentTurn

STORED: Final = "stored; the hive has not confirmed it yet and will do it by itself, do not call again"

Words = Callable[[ThreadAccepted], str]
Make = Callable[[Any, str | None], tuple[Payload, Words]]


class AskOperatorArguments(Arguments):
    question: str = Field(description=f"The question, at most {MAX_BODY_BYTES} bytes.")
    options: list[str] = Field(
        default_factory=list,
        description=f"Answers to choose from, one line each, at most {MAX_OPTIONS}. Free text is always possible too.",
    )
    multi: bool = Field(default=False, description="Whether several options may be chosen.")
    ttl_seconds: float | None = Field(
        default=None, gt=0, le=MAX_TTL_S, description="After so many seconds the answer is '[expired]'."
    )


class AskArguments(AskOperatorArguments):
    to: str = Field(description="An agent's name.")


class AnswerArguments(Arguments):
    id: str = Field(description="The id of the question, q-….")
    answer: str = Field(description=f"The answer, at most {MAX_BODY_BYTES} bytes.")


class RemindArguments(Arguments):
    message: str = Field(description=f"What you want to be told then, at most {MAX_BODY_BYTES} bytes.")
    delay_seconds: float | None = Field(default=None, ge=0, le=MAX_DELAY_S, description="In so many seconds.")
    at: datetime | None = Field(
        default=None, description="Or at this time, like 2030-01-31T09:00:00Z; without a zone it is UTC."
    )


class OpenThreadsArguments(Arguments):
    pass


class CancelThreadArguments(Arguments):
    id: str = Field(description="The id of your question (q-…) or reminder (r-…).")


class ThreadTools:
    """`tools` are for the agent's toolbox. All but `open_threads` need a turn, which gives their calls their keys."""

    def __init__(self, current: CurrentTurn, outgoing: Outgoing) -> None:
        self._current = current
        self._outgoing = outgoing
        self.tools: tuple[Tool, ...] = (
            Tool(
                "ask_operator",
                "Ask the operator, a person, a question. Returns its id at once; end your turn, the answer arrives "
                "later as a message from system.",
                AskOperatorArguments,
                self._in_turn("ask_operator", self._ask_operator),
            ),
            Tool(
                "ask",
                "Ask another agent a question. Returns its id at once; the answer arrives later as a message from "
                "system.",
                AskArguments,
                self._in_turn("ask", self._ask),
            ),
            Tool(
                "answer",
                "Answer a question that you were asked.",
                AnswerArguments,
                self._in_turn("answer", self._answer),
            ),
            Tool(
                "remind",
                "Have a message from system sent to yourself later, after a delay or at a time.",
                RemindArguments,
                self._in_turn("remind", self._remind),
            ),
            Tool(
                "open_threads",
                "Your open questions, those that wait for your answer, and your reminders.",
                OpenThreadsArguments,
                self._open_threads,
            ),
            Tool(
                "cancel_thread",
                "Take a question or a reminder of yours back.",
                CancelThreadArguments,
                self._in_turn("cancel_thread", self._cancel),
            ),
        )

    def _in_turn(self, tool: str, make: Make) -> Callable[[Any], Awaitable[ToolAnswer]]:
        """A tool's call: `make` checks the arguments, and gives the request and how to say that it was done."""

        async def call(arguments: Arguments) -> ToolAnswer:
            turn = self._current.turn
            if turn is None:
                raise NotInTurn(f"there is no turn now: {tool} while you work on a message")
            payload, words = make(arguments, turn.newest)
            wish = arguments.model_dump_json()
            key = turn.reserve_call_key(tool, wish)
            try:
                answer = await self._outgoing.request(payload, key)
            except HiveError:
                turn.give_back_call_key(tool, wish)
                raise
            if isinstance(answer, ThreadRefused):
                turn.give_back_call_key(tool, wish)
            elif isinstance(payload, AskQuestion):
                turn.counts.sent(payload.to)
            return _told(answer, words)

        return call

    def _ask_operator(
        self, arguments: AskOperatorArguments, cause: str | None, to: str = OPERATOR
    ) -> tuple[Payload, Words]:
        options = tuple(arguments.options)
        check_question(arguments.question, options)
        payload = AskQuestion(
            question=arguments.question,
            options=options,
            multi=arguments.multi,
            ttl_seconds=arguments.ttl_seconds,
            to=to,
            cause=cause,
        )
        return payload, lambda done: f"asked {to}, question {done.id}; the answer will arrive as a message from system"

    def _ask(self, arguments: AskArguments, cause: str | None) -> tuple[Payload, Words]:
        if arguments.to != OPERATOR:
            check_name(arguments.to)
        return self._ask_operator(arguments, cause, arguments.to)

    def _answer(self, arguments: AnswerArguments, _cause: str | None) -> tuple[Payload, Words]:
        payload = AnswerQuestion(id=arguments.id, answer=check_answer(arguments.answer))
        return payload, lambda done: f"answered {done.id}"

    def _remind(self, arguments: RemindArguments, cause: str | None) -> tuple[Payload, Words]:
        """The time counts from the call, however long the broker is away."""
        check_body(arguments.message)
        if (arguments.at is None) == (arguments.delay_seconds is None):
            raise InvalidBody("give either `delay_seconds` or `at`")
        at = arguments.at or datetime.now(UTC) + timedelta(seconds=arguments.delay_seconds or 0)
        payload = SetReminder(message=arguments.message, at=at, cause=cause)
        return payload, lambda done: f"reminder {done.id} is set"

    def _cancel(self, arguments: CancelThreadArguments, _cause: str | None) -> tuple[Payload, Words]:
        kind = CancelReminder if arguments.id.startswith("r-") else CancelQuestion
        return kind(id=arguments.id), lambda done: f"[cancelled] {done.id}"

    async def _open_threads(self, _arguments: OpenThreadsArguments) -> ToolAnswer:
        answer = await self._outgoing.request(ListThreads(), new_id())
        if isinstance(answer, ThreadsListed):
            return ToolAnswer((_listed(answer),))
        if isinstance(answer, ThreadRefused):
            return refusal(answer.reason, STOP)
        return refusal("the hive does not answer now", "Try the same call again later.")


def _told(answer: ThreadAnswer | None, words: Words) -> ToolAnswer:
    match answer:
        case ThreadAccepted():
            note = f"\n{answer.note}" if answer.note else ""
            return ToolAnswer((f"{words(answer)}{note}",))
        case ThreadRefused():
            return refusal(answer.reason, OTHER_ARGUMENTS if answer.retry else STOP)
        case _:
            return ToolAnswer((STORED,))


def _listed(threads: ThreadsListed) -> str:
    """JSON, so that no text in it can pass for a field."""
    found = {
        "asked": [_question(view, "to", view.to) for view in threads.asked],
        "to_answer": [_question(view, "from", view.asker) for view in threads.to_answer],
        "reminders": [_reminder(view) for view in threads.reminders],
    }
    return json.dumps(found, ensure_ascii=False)


def _question(view: QuestionView, side: str, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": view.id, side: name, "question": view.question, "options": list(view.options)}
    return facts | ({"expires_at": view.expires_at.isoformat()} if view.expires_at else {})


def _reminder(view: ReminderView) -> dict[str, Any]:
    return {"id": view.id, "message": view.message, "due_at": view.due_at.isoformat()}
