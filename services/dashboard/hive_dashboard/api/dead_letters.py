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
    dead_letters: list[DeadLetter]


@router.get("")
def dead_letters(parts: PartsOf, limit: Annotated[int, Query(ge=1, le=500)] = 200) -> DeadLetterList:
    """Newest message first."""
    found = parts.messages.dead(limit=limit)
    return DeadLetterList(dead_letters=[DeadLetter(message=view, reason=reason_of(view)) for view in found])


@router.post("/{message_id}/redrive")
async def redrive(parts: PartsOf, message_id: str) -> dict[str, str]:
    """Put it back into its recipient's inbox, under the same id."""
    await parts.commands.command(RedriveMessage(message_id=message_id[:64]), to=streams.COMMANDS_BROKER)
    return {"id": message_id, "state": "delivered"}


def reason_of(view: MessageView) -> str:
    """Of its last step, by which it became a dead letter."""
    return next((step.detail for step in reversed(view.steps) if step.state is view.state), "")
