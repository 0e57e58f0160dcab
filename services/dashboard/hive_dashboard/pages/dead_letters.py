"""`/dead-letters`: messages that were given up, why, and the button that sends one again."""

import asyncio
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from hive_contracts import streams
from hive_contracts.errors import HiveError
from hive_contracts.messages import RedriveMessage
from hive_dashboard.answers import is_htmx
from hive_dashboard.api.dead_letters import reason_of
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views.messages import DeadLettersPage
from hive_dashboard.views.shell import Flash, FlashFragment

router = APIRouter()


@router.get("/dead-letters", response_class=HTMLResponse)
async def dead_letters(parts: PartsOf, session: SignedIn) -> str:
    found = await asyncio.to_thread(parts.messages.dead)
    view = DeadLettersPage(
        make_shell(parts, session, "Dead letters", path="/dead-letters", stream="page=home"),
        letters=tuple((message, reason_of(message)) for message in found),
    )
    return parts.renderer.page(view)


@router.post("/dead-letters/{message_id}/redrive")
async def redrive(
    request: Request,
    parts: PartsOf,
    session: SignedIn,
    message_id: str,
    back: Annotated[str, Form(max_length=500)] = "/dead-letters",
) -> Response:
    flash = Flash("It is back in its recipient's inbox.")
    try:
        await parts.commands.command(RedriveMessage(message_id=message_id[:64]), to=streams.COMMANDS_BROKER)
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    in_its_list = urlsplit(request.headers.get("hx-current-url", "")).path == "/dead-letters"
    if is_htmx(request) and in_its_list and flash.tone == "good":
        gone = Markup('<div id="dead-{}" hx-swap-oob="delete"></div>').format(message_id)
        return HTMLResponse(parts.renderer.page(FlashFragment((flash,))) + gone)
    return told(request, parts, session, flash, back=back)
