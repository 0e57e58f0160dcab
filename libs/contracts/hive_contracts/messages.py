"""Messages between principals, and the events of a message's life."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload
from hive_contracts.errors import BodyTooLong, InvalidBody

MAX_BODY_BYTES: Final = 4096


class MessageState(StrEnum):
    """Where a message is. `ACKED` is final; a dead or expired one lies in the dead letters until it is sent again."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    IN_TURN = "in_turn"
    ACKED = "acked"
    FAILED = "failed"
    DEAD = "dead"
    EXPIRED = "expired"


class MessageKind(StrEnum):
    """What one may look for among messages. A message may be of several kinds."""

    AGENTS = "agents"
    OPERATOR = "operator"
    SYSTEM = "system"
    URGENT = "urgent"
    BROADCAST = "broadcast"
    WAITING = "waiting"


class About(BaseModel):
    """What a message is about, for programs: a fact's type, the id of its subject, and the fact's fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    id: str
    data: dict[str, Any] = Field(default_factory=dict)


class Message(BaseModel):
    """A message as its recipient sees it. `sender` is stamped by the broker, never claimed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    sender: str
    recipient: str
    body: str
    sent_at: datetime
    in_reply_to: str | None = None
    trace_id: str
    hop: int = 0
    broadcast: bool = False
    context_only: bool = False
    urgent: bool = False
    about: About | None = None


class SendMessage(Payload):
    """In an outbox: please deliver. The envelope's `id` is the sender's idempotency key; `cause` is the id of the
    message in whose turn this was written. `to` may be `*`: everyone but the sender and the operator."""

    TYPE: ClassVar[str] = "message.send"

    to: str
    body: str
    in_reply_to: str | None = None
    cause: str | None = None
    context_only: bool = False
    urgent: bool = False


class MessageDelivered(Payload):
    """In an inbox: the message itself. In `hive:events`: the fact that it got there."""

    TYPE: ClassVar[str] = "message.delivered"

    message: Message


class MessageAccepted(Payload):
    """The broker took a message on. To the sender's control stream (`correlation_id` = key) and to `hive:events`."""

    TYPE: ClassVar[str] = "message.accepted"

    message_id: str
    sender: str
    to: str
    note: str = ""
    count: int = 1


class MessageRefused(Payload):
    """The broker did not take a message on, and nothing was stored. `retry` says whether other arguments may help."""

    TYPE: ClassVar[str] = "message.refused"

    sender: str
    to: str
    code: str
    reason: str
    retry: bool = True


class MessageInTurn(Payload):
    """A turn of the recipient took the message up. `tries`: by how much this changes those that count against it."""

    TYPE: ClassVar[str] = "message.in_turn"

    message_id: str
    recipient: str
    turn_id: str
    tries: int = 0


class MessageAcked(Payload):
    """The recipient is done with the message."""

    TYPE: ClassVar[str] = "message.acked"

    message_id: str
    recipient: str
    turn_id: str = ""


class MessageFailed(Payload):
    """A turn with the message ended badly; it stays in the inbox and is tried again. `tries` as in `MessageInTurn`."""

    TYPE: ClassVar[str] = "message.failed"

    message_id: str
    recipient: str
    turn_id: str = ""
    reason: str = ""
    tries: int = 0


class RedriveMessage(Payload):
    """To the broker: put this dead letter back into its recipient's inbox."""

    TYPE: ClassVar[str] = "message.redrive"

    message_id: str = Field(max_length=64)


class LoopStopped(Payload):
    """The broker refuses further messages of a conversation, because it looks like agents answering each other for
    ever. Told once per conversation."""

    TYPE: ClassVar[str] = "loop.stopped"

    trace_id: str
    sender: str
    to: str
    hop: int
    reason: str


class MessageView(BaseModel):
    """A message with its life so far, as stores and the HTTP API give it. Times are UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    sender: str
    recipient: str
    body: str
    state: MessageState
    sent_at: datetime
    in_reply_to: str | None = None
    trace_id: str
    hop: int = 0
    attempts: int = 0
    broadcast: bool = False
    context_only: bool = False
    urgent: bool = False
    about: About | None = None
    steps: tuple["MessageStep", ...] = Field(default=())


def kinds_of(message: MessageView) -> tuple[MessageKind, ...]:
    """As `records.messages` finds them."""
    ends, done = {message.sender, message.recipient}, (MessageState.ACKED, MessageState.DEAD, MessageState.EXPIRED)
    found = {
        MessageKind.AGENTS: "operator" not in ends and message.sender != "system",
        MessageKind.OPERATOR: "operator" in ends,
        MessageKind.SYSTEM: message.sender == "system",
        MessageKind.URGENT: message.urgent,
        MessageKind.BROADCAST: message.broadcast,
        MessageKind.WAITING: message.state not in done,
    }
    return tuple(kind for kind, fits in found.items() if fits)


class MessageStep(BaseModel):
    """One step in a message's life. `detail` is a turn id, or the reason of a failure."""

    model_config = ConfigDict(frozen=True)

    state: MessageState
    at: datetime
    detail: str = ""


class MessageDead(Payload):
    """The broker gave a message up: it left the inbox and lies in the dead letters until it is sent again.

    `state` is `dead` or `expired`; `history` are the last steps of its life, oldest first.
    """

    TYPE: ClassVar[str] = "message.dead"

    message: Message
    state: MessageState
    reason: str
    attempts: int = 0
    history: tuple[MessageStep, ...] = ()


def check_body(body: str) -> str:
    """Return `body`; raise `InvalidBody` when it is blank, `BodyTooLong` over `MAX_BODY_BYTES` of UTF-8."""
    if not body.strip():
        raise InvalidBody("the body is empty; write what you want to say")
    size = len(body.encode("utf-8", "surrogatepass"))
    if size > MAX_BODY_BYTES:
        raise BodyTooLong(
            f"the body has {size} bytes, the limit is {MAX_BODY_BYTES}; write it to a file and send its path"
        )
    return body
