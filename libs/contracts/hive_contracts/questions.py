"""Questions between agents and to the operator, and what the broker answers to requests about threads.

A thread is what waits for somebody: an open question or a reminder. Requests travel through the asker's own outbox; the
envelope's `id` is the idempotency key. The broker answers on the asker's control stream (`correlation_id` = key) with
`thread.accepted` or `thread.refused`.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload
from hive_contracts.errors import BodyTooLong, InvalidBody
from hive_contracts.messages import MAX_BODY_BYTES
from hive_contracts.names import OPERATOR
from hive_contracts.permissions import MAX_COMMAND_BYTES, Choice, PermissionRequest, decision_of

MAX_OPTIONS: Final = 20
MAX_OPTION_BYTES: Final = 200
MAX_TTL_S: Final = 30 * 24 * 3600

EXPIRED: Final = "[expired]"
CANCELLED: Final = "[cancelled]"


class QuestionState(StrEnum):
    """All but `OPEN` are final."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class AskQuestion(Payload):
    """In an outbox: ask `to`. `cause` is the id of the message in whose turn this was written.

    With `permission` only the operator can be asked, and the answer goes to the asker's control stream.
    """

    TYPE: ClassVar[str] = "question.ask"

    question: str
    options: tuple[str, ...] = ()
    multi: bool = False
    ttl_seconds: float | None = Field(default=None, gt=0, le=MAX_TTL_S)
    to: str = OPERATOR
    cause: str | None = None
    permission: PermissionRequest | None = None


class AnswerQuestion(Payload):
    """In an outbox: the addressee's or the operator's answer."""

    TYPE: ClassVar[str] = "question.answer"

    id: str
    answer: str


class CancelQuestion(Payload):
    """In an outbox: the asker or the operator takes the question back."""

    TYPE: ClassVar[str] = "question.cancel"

    id: str


class QuestionAsked(Payload):
    TYPE: ClassVar[str] = "question.asked"

    id: str
    asker: str
    to: str
    question: str
    options: tuple[str, ...] = ()
    multi: bool = False
    expires_at: datetime | None = None
    permission: PermissionRequest | None = None


class QuestionAnswered(Payload):
    """`answer` is `EXPIRED` or `CANCELLED` in what an asker is told of a question that nobody answered.

    In a control stream, for a question of permission, `correlation_id` is the question's id.
    """

    TYPE: ClassVar[str] = "question.answered"

    id: str
    question: str
    answer: str
    answerer: str


class QuestionExpired(Payload):
    TYPE: ClassVar[str] = "question.expired"

    id: str
    asker: str
    question: str


class QuestionCancelled(Payload):
    TYPE: ClassVar[str] = "question.cancelled"

    id: str
    asker: str
    question: str
    by: str


class QuestionView(BaseModel):
    """A question as stores and the HTTP API give it. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    asker: str
    to: str
    question: str
    options: tuple[str, ...] = ()
    multi: bool = False
    asked_at: datetime
    expires_at: datetime | None = None
    state: QuestionState = QuestionState.OPEN
    answer: str = ""
    answerer: str = ""
    closed_at: datetime | None = None
    permission: PermissionRequest | None = None

    @property
    def proposes(self) -> bool:
        """The operator's answer proposes the pattern for the asker's configuration."""
        always = self.state is QuestionState.ANSWERED and decision_of(self.answer).choice is Choice.ALWAYS
        return always and self.permission is not None and bool(self.permission.pattern)


class ThreadAccepted(Payload):
    """To the asker's control stream: done. `id` is of the question or reminder."""

    TYPE: ClassVar[str] = "thread.accepted"

    id: str
    note: str = ""


class ThreadRefused(Payload):
    """To the asker's control stream: not done, and nothing was stored. `retry`: whether other arguments may help."""

    TYPE: ClassVar[str] = "thread.refused"

    code: str
    reason: str
    retry: bool = True


def check_question(question: str, options: tuple[str, ...] = ()) -> None:
    """Raises `InvalidBody` and `BodyTooLong`."""
    _check_text(question, "question")
    if len(options) > MAX_OPTIONS:
        raise InvalidBody(f"there are {len(options)} options, the limit is {MAX_OPTIONS}; free text is always possible")
    for option in options:
        if not option.strip() or "\n" in option:
            raise InvalidBody("an option is one line of text; leave empty ones out")
        if _size(option) > MAX_OPTION_BYTES:
            raise BodyTooLong(f"an option has at most {MAX_OPTION_BYTES} bytes; put the details into the question")
    if len(set(options)) < len(options):
        raise InvalidBody("an option stands twice; name each once")


def check_permission(request: PermissionRequest) -> None:
    """Raises `InvalidBody` and `BodyTooLong`."""
    if not request.command.strip():
        raise InvalidBody("the command is empty; there is nothing to permit")
    if _size(request.command) > MAX_COMMAND_BYTES:
        raise BodyTooLong(
            f"the command has {_size(request.command)} bytes, more than the {MAX_COMMAND_BYTES} that the operator is "
            "shown; write it to a file, or make it shorter"
        )


def check_answer(answer: str) -> str:
    """Return `answer`; raises `InvalidBody` and `BodyTooLong`."""
    return _check_text(answer, "answer")


def _check_text(text: str, what: str) -> str:
    if not text.strip():
        raise InvalidBody(f"the {what} is empty; write what you want to say")
    if _size(text) > MAX_BODY_BYTES:
        raise BodyTooLong(
            f"the {what} has {_size(text)} bytes, the limit is {MAX_BODY_BYTES}; write it to a file and send its path"
        )
    return text


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
