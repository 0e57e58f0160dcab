"""Reminders that an agent sets itself, and the list of everything that waits for it or that it waits for."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload
from hive_contracts.questions import QuestionView

MAX_DELAY_S: Final = 366 * 24 * 3600


class ReminderState(StrEnum):
    """All but `WAITING` are final."""

    WAITING = "waiting"
    DUE = "due"
    CANCELLED = "cancelled"


class SetReminder(Payload):
    """In an outbox: remind me. Either `at`, or `delay_seconds` from when the broker takes it on."""

    TYPE: ClassVar[str] = "remind.set"

    message: str
    delay_seconds: float | None = Field(default=None, ge=0, le=MAX_DELAY_S)
    at: datetime | None = None
    cause: str | None = None


class CancelReminder(Payload):
    """In an outbox: the owner or the operator no longer wants it."""

    TYPE: ClassVar[str] = "remind.cancel"

    id: str


class ReminderSet(Payload):
    TYPE: ClassVar[str] = "reminder.set"

    id: str
    owner: str
    message: str
    due_at: datetime


class ReminderDue(Payload):
    """`late`: more than a minute after its time."""

    TYPE: ClassVar[str] = "reminder.due"

    id: str
    owner: str
    message: str
    due_at: datetime
    late: bool = False


class ReminderCancelled(Payload):
    TYPE: ClassVar[str] = "reminder.cancelled"

    id: str
    owner: str
    message: str
    by: str


class ReminderView(BaseModel):
    """A reminder as stores give it. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    message: str
    set_at: datetime
    due_at: datetime
    state: ReminderState = ReminderState.WAITING


class ListThreads(Payload):
    """In an outbox: which threads of mine are open?"""

    TYPE: ClassVar[str] = "threads.list"


class ThreadsListed(Payload):
    """To the asker's control stream: open questions it asked (`asked`) or is asked (`to_answer`), and its reminders."""

    TYPE: ClassVar[str] = "threads.listed"

    asked: tuple[QuestionView, ...] = ()
    to_answer: tuple[QuestionView, ...] = ()
    reminders: tuple[ReminderView, ...] = ()
