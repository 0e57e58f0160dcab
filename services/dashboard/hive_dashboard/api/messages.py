"""`/api/v1/messages`: send as the operator, follow messages, mark the operator's as read."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from hive_contracts.errors import NotFound
from hive_contracts.messages import MessageView
from hive_dashboard.api.agents import MessageList, message_page
from hive_dashboard.commands import QUEUED
from hive_dashboard.idempotency import check_key
from hive_dashboard.parts import PartsOf

router = APIRouter(prefix="/messages", tags=["messages"])


class NewMessage(BaseModel):
    to: str = Field(max_length=100)
    body: str
    in_reply_to: str | None = Field(default=None, max_length=64)
    urgent: bool = False


class SentView(BaseModel):
    """`state`: accepted, or queued while the broker has not confirmed it."""

    id: str
    to: str
    state: str
    note: str


class Traced(BaseModel):
    """A message with its steps, and all that was said in the same conversation, oldest first."""

    message: MessageView
    conversation: list[MessageView]


@router.get("")
def messages(
    parts: PartsOf,
    agent: Annotated[str | None, Query(max_length=64)] = None,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> MessageList:
    """Messages, newest first, of everybody or to and from `agent`; `before` a message's id."""
    return message_page(parts.messages.recent(agent=agent, before=before, limit=limit), limit)


@router.post("", status_code=HTTPStatus.CREATED, responses={202: {"model": SentView}})
async def send(
    parts: PartsOf,
    new: NewMessage,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> SentView:
    """Send as the operator. The same `Idempotency-Key` sends once."""
    key = None if idempotency_key is None else check_key(idempotency_key)
    sent = await parts.commands.send(new.to, new.body, in_reply_to=new.in_reply_to, key=key, urgent=new.urgent)
    if sent.state == QUEUED:
        response.status_code = HTTPStatus.ACCEPTED
    return SentView(id=sent.id, to=sent.to, state=sent.state, note=sent.note)


@router.get("/{message_id}")
def message(parts: PartsOf, message_id: str) -> Traced:
    """One message with its steps, and its whole conversation."""
    found = parts.message(message_id)
    if found is None:
        raise NotFound(f"there is no message {message_id[:64]!r}; `hive inbox` and the dashboard list those there are")
    return Traced(message=found, conversation=parts.messages.conversation(found.trace_id))


@router.post("/{message_id}/read")
async def mark_read(parts: PartsOf, message_id: str) -> dict[str, str]:
    """The operator has read it: takes it out of the operator's inbox. Idempotent."""
    await parts.inbox.mark_read(message_id)
    return {"id": message_id, "state": "read"}
