"""`/api/v1/dead-letters`: messages that were given up, and sending one again."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hive_contracts import streams
from hive_contracts.messages import MessageView, RedriveMessage
from hive_dashboard.parts import PartsOf

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


class DeadLetter(BaseModel):
    """`reason` says why the message was given up; its steps are the whole story."""

    message: MessageView
    reason: str


class DeadLetterList(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing."""

    dead_letters: list[DeadLetter]
    next: str | None = None


@router.get("")
def dead_letters(
    parts: PartsOf,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> DeadLetterList:
    """Messages that were given up, newest first, `before` a message's id."""
    found = parts.messages.dead(before=before, limit=limit)
    letters = [DeadLetter(message=view, reason=reason_of(view)) for view in found]
    return DeadLetterList(dead_letters=letters, next=found[-1].id if len(found) == limit else None)


@router.post("/{message_id}/redrive")
async def redrive(parts: PartsOf, message_id: str) -> dict[str, str]:
    """Put it back into its recipient's inbox, under the same id."""
    await parts.commands.command(RedriveMessage(message_id=message_id[:64]), to=streams.COMMANDS_BROKER)
    return {"id": message_id, "state": "delivered"}


def reason_of(view: MessageView) -> str:
    """Of its last step, by which it became a dead letter."""
    return next((step.detail for step in reversed(view.steps) if step.state is view.state), "")
