"""`/agents/<name>/terminal`: a shell in the agent's container, off until the operator turns it on for this agent."""

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, WebSocket
from fastapi.responses import HTMLResponse, Response

from hive_contracts.errors import NotFound, Unavailable
from hive_dashboard.pages.shell import known_agent, make_shell, told
from hive_dashboard.parts import PartsOf, SignedIn, parts_of
from hive_dashboard.security import POLICY
from hive_dashboard.terminal import POLICY as REFUSED
from hive_dashboard.terminal import look, turn, why_not
from hive_dashboard.views.agent import TerminalPage
from hive_dashboard.views.shell import Flash

router = APIRouter(prefix="/agents/{name}/terminal")


@router.get("", response_class=HTMLResponse)
async def terminal(parts: PartsOf, session: SignedIn, name: str) -> Response:
    agent = known_agent(parts, name)
    is_on, nonce = parts.terminals.is_on(agent), secrets.token_urlsafe(16)
    view = TerminalPage(
        make_shell(parts, session, f"{name}: terminal", path=f"/agents/{name}/terminal"),
        agent=agent,
        is_on=is_on,
        nonce=nonce,
    )
    # xterm.js makes style elements of its own: those of this page are let in, by a word that is another each time
    headers = {"content-security-policy": f"{POLICY}; style-src 'self' 'nonce-{nonce}'"}
    status = HTTPStatus.OK if is_on else HTTPStatus.FORBIDDEN
    return HTMLResponse(parts.renderer.page(view), status_code=status, headers=headers)


@router.post("")
async def switch(
    request: Request, parts: PartsOf, session: SignedIn, name: str, on: Annotated[str, Form(max_length=5)] = ""
) -> Response:
    """`on` empty: turn it off, and end what runs in it."""
    await turn(parts, known_agent(parts, name), on=bool(on), who=session.id)
    words = f"{name}'s terminal is on." if on else f"{name}'s terminal is off; what ran in it is ended."
    return told(request, parts, session, Flash(words), back=f"/agents/{name}/terminal")


@router.websocket("/socket")
async def socket(websocket: WebSocket, name: str) -> None:
    """`Guard` has looked at Host and Origin."""
    parts = parts_of(websocket)
    session = parts.auth.session(websocket)
    try:
        agent = known_agent(parts, name)
    except (NotFound, Unavailable):
        agent = None
    if session is None or agent is None or why_not(parts, agent):
        await websocket.close(REFUSED)
        return
    await websocket.accept()
    await look(parts, websocket, agent, who=session.id)
