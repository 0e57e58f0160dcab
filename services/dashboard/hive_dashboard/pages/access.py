"""`/settings/access`: tokens and signed-in browsers; and `/audit`: what was done."""

import asyncio
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from hive_contracts.errors import HiveError, InvalidRequest
from hive_dashboard.api.access import MAX_DAYS
from hive_dashboard.audit import acted
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views.access import AccessPage, AuditPage
from hive_dashboard.views.shell import Flash

PAGE_LENGTH: Final = 100
MAX_NAME: Final = 80
ACCESS: Final = "/settings/access"

router = APIRouter()


@router.get(ACCESS, response_class=HTMLResponse)
async def access(parts: PartsOf, session: SignedIn) -> str:
    tokens = await asyncio.to_thread(parts.tokens.all)
    sessions = await asyncio.to_thread(parts.store.all)
    shell = make_shell(parts, session, "Access", path=ACCESS)
    return parts.renderer.page(AccessPage(shell, tokens=tokens, sessions=sessions, own=session.id))


@router.post(f"{ACCESS}/tokens")
async def make(
    request: Request,
    parts: PartsOf,
    session: SignedIn,
    name: Annotated[str, Form(max_length=500)] = "",
    days: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    try:
        name, wanted = name.strip(), _days(days)
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise InvalidRequest(f"give the token a name, at most {MAX_NAME} characters, by which you will know it")
        with acted("token.create", name, f"{wanted} days" if wanted else ""):
            token, secret = await asyncio.to_thread(parts.tokens.make, name, days=wanted)
        flash = Flash(f"The token {token.id} is {secret} — copy it now, it is shown this once.")
    except HiveError as error:
        flash = Flash(str(error), "bad")
    return told(request, parts, session, flash, back=ACCESS)


@router.post(f"{ACCESS}/tokens/{{token_id}}/revoke")
async def revoke(request: Request, parts: PartsOf, session: SignedIn, token_id: str) -> Response:
    with acted("token.revoke", token_id):
        token = await asyncio.to_thread(parts.tokens.revoke, token_id)
    return told(request, parts, session, Flash(f"{token.name} lets nobody in any more."), back=ACCESS)


@router.post(f"{ACCESS}/sessions/{{session_id}}/end")
async def end(request: Request, parts: PartsOf, session: SignedIn, session_id: str) -> Response:
    with acted("session.end", session_id):
        await asyncio.to_thread(parts.store.end, session_id)
    return told(request, parts, session, Flash(f"{session_id} is signed out."), back=ACCESS)


@router.get("/audit", response_class=HTMLResponse)
async def audit(
    parts: PartsOf,
    session: SignedIn,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    target: Annotated[str, Query(max_length=200)] = "",
    who: Annotated[str, Query(max_length=64)] = "",
) -> str:
    found = await asyncio.to_thread(
        parts.audit.recent, before=before, who=who or None, target=target or None, limit=PAGE_LENGTH
    )
    query = {"who": who, "target": target, "before": found[-1].id} if len(found) == PAGE_LENGTH else {}
    view = AuditPage(
        make_shell(parts, session, "Audit", path="/audit"),
        actions=found,
        who=who,
        target=target,
        older=f"/audit?{urlencode(query)}" if query else "",
    )
    return parts.renderer.page(view)


def _days(text: str) -> int | None:
    """Raises `InvalidRequest`."""
    if not text.strip():
        return None
    if not (text.strip().isascii() and text.strip().isdigit()) or not 1 <= int(text) <= MAX_DAYS:
        raise InvalidRequest(f"days are a number from 1 to {MAX_DAYS}, or nothing for a token that does not run out")
    return int(text)
