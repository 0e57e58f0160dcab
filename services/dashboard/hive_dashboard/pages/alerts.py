"""What happened and stands in the queue: dismissed, or answered with a word to who did it."""

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from hive_contracts.errors import HiveError, NotFound
from hive_dashboard.pages.shell import told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.store_alerts import Alert
from hive_dashboard.views.shell import Flash

router = APIRouter(prefix="/alerts/{key}")


@router.post("/dismiss")
async def dismiss(request: Request, parts: PartsOf, session: SignedIn, key: str) -> Response:
    flash = Flash("Dismissed; if it happens again it is here again.")
    try:
        await asyncio.to_thread(parts.alerts.dismiss, key)
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back="/")


@router.post("/message")
async def write(
    request: Request,
    parts: PartsOf,
    session: SignedIn,
    key: str,
    to: Annotated[str, Form(max_length=100)] = "",
    body: Annotated[str, Form()] = "",
) -> Response:
    """`to` empty: to who did it. Into the conversation that was stopped, where it is one; then it is seen to."""
    try:
        alert = _known(parts, key)
        answered = await asyncio.to_thread(_newest_of, parts, alert)
        sent = await parts.commands.send(to or alert.agent, body.replace("\r\n", "\n"), in_reply_to=answered)
        with suppress(NotFound):  # the word itself settled it
            await asyncio.to_thread(parts.alerts.dismiss, key)
        flash = Flash(f"Sent to {sent.to}: {sent.note}" if sent.note else f"Sent to {sent.to}.")
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back="/")


def _known(parts: Parts, key: str) -> Alert:
    """Raises `NotFound`."""
    found = next((alert for alert in parts.alerts.all() if alert.key == key), None)
    if found is None:
        raise NotFound("that was seen to already; what happens from now on is shown again")
    return found


def _newest_of(parts: Parts, alert: Alert) -> str | None:
    """The newest message of the conversation that was stopped. Blocks."""
    conversation = parts.messages.conversation(alert.trace_id) if alert.trace_id else []
    return conversation[-1].id if conversation else None
