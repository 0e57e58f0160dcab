"""What the operator does with a draft: discard it, take it over, and make an agent of what he took over."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hive_contracts.agents import SpawnAgent
from hive_contracts.drafts import DiscardDraft, TakeOverDraft
from hive_contracts.envelope import Payload
from hive_contracts.errors import HiveError, NotFound
from hive_dashboard.api.drafts import found_draft
from hive_dashboard.pages.shell import told
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views.shell import Flash

DEEDS: Final[dict[str, tuple[Callable[..., Payload], str, str]]] = {
    "discard": (DiscardDraft, "The draft of {} is discarded; its name is free.", "/"),
    "take-over": (TakeOverDraft, "The draft of {} is yours: change it, and make the agent.", "/agents/{}/config"),
    "make": (SpawnAgent, "{} is there and starts.", "/agents/{}"),
}
"""Address → the command, what is said once it is done, and where to go then."""

router = APIRouter(prefix="/drafts/{name}")


@router.post("/{deed}")
async def do(request: Request, parts: PartsOf, session: SignedIn, name: str, deed: str) -> Response:
    if deed not in DEEDS:
        raise NotFound(f"nothing called {deed[:40]!r} can be done with a draft")
    command, words, there = DEEDS[deed]
    flash, back = Flash(words.format(name)), there.format(name)
    try:
        await parts.commands.command(command(name=found_draft(parts, name).name))
    except HiveError as error:
        flash, back = Flash(str(error), "bad"), "/"
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back=back)
