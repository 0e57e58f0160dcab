"""`/messages` and `/messages/<id>`, the form that sends, and the button that marks as read."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from hive_contracts.errors import HiveError, NotFound
from hive_contracts.ids import new_id
from hive_contracts.names import OPERATOR, SYSTEM
from hive_dashboard.answers import is_htmx
from hive_dashboard.auth import Session
from hive_dashboard.commands import QUEUED, Sent
from hive_dashboard.idempotency import key_of
from hive_dashboard.pages.agent import render_agent
from hive_dashboard.pages.home import render_home
from hive_dashboard.pages.shell import local_path, make_shell, told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.registry import AgentView
from hive_dashboard.slash import Slash, carry_out, parse
from hive_dashboard.views import ComposeForm, Flash, MessagePage, MessagesPage, reply_form

PAGE_LENGTH: Final = 50

router = APIRouter()


class Written(BaseModel):
    """The compose form's fields."""

    to: str = ""
    body: str = ""
    in_reply_to: str = ""
    urgent: str = ""
    nonce: str = ""
    back: str = "/"
    fixed: str = ""


@router.get("/messages", response_class=HTMLResponse)
async def messages(
    parts: PartsOf,
    session: SignedIn,
    agent: Annotated[str, Query(max_length=64)] = "",
    before: Annotated[str | None, Query(max_length=64)] = None,
) -> str:
    found = await asyncio.to_thread(parts.messages.recent, agent=agent or None, before=before, limit=PAGE_LENGTH)
    older = urlencode({"agent": agent, "before": found[-1].id}) if len(found) == PAGE_LENGTH else ""
    names = tuple(item.name for item in parts.snapshots.current.agents)
    view = MessagesPage(
        make_shell(parts, session, "Messages", path="/messages"),
        messages=found,
        agents=(OPERATOR, *names),
        agent=agent,
        older=f"/messages?{older}" if older else "",
    )
    return parts.renderer.page(view)


@router.get("/messages/{message_id}", response_class=HTMLResponse)
async def message(parts: PartsOf, session: SignedIn, message_id: str) -> str:
    return await render_message(parts, session, message_id)


async def render_message(parts: Parts, session: Session, message_id: str, *, compose: ComposeForm | None = None) -> str:
    shell = make_shell(parts, session, "Trace", path=f"/messages/{message_id}", stream="page=home")
    found = await asyncio.to_thread(parts.message, message_id)
    if found is None:
        raise NotFound(f"there is no message {message_id[:64]}; `/messages` lists those there are")
    if found.recipient == OPERATOR and found.sender != SYSTEM:
        compose = compose or reply_form(found, nonce=new_id(), back=f"/messages/{found.id}")
    conversation = await asyncio.to_thread(parts.messages.conversation, found.trace_id)
    return parts.renderer.page(MessagePage(shell, message=found, conversation=conversation, compose=compose))


@router.post("/messages/{message_id}/read")
async def mark_read(request: Request, parts: PartsOf, session: SignedIn, message_id: str) -> Response:
    await parts.inbox.mark_read(message_id)
    if is_htmx(request):
        return HTMLResponse("")
    return RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)


@router.post("/send")
async def send(request: Request, parts: PartsOf, session: SignedIn, written: Annotated[Written, Form()]) -> Response:
    agent = parts.snapshots.current.agent(written.to)
    if agent and written.back == f"/agents/{agent.name}" and (slash := parse(written.body)):
        return await _steer(request, parts, session, written, agent=agent, slash=slash)
    try:
        sent = await parts.commands.send(
            written.to.strip(),
            written.body.replace("\r\n", "\n"),
            in_reply_to=written.in_reply_to or None,
            urgent=bool(written.urgent),
            key=key_of(written.nonce, written.to, written.body, written.in_reply_to),
        )
    except HiveError as error:
        return await _refused(request, parts, session, written, error)
    if written.in_reply_to:
        await _mark_answered(parts, written.in_reply_to)
    if is_htmx(request):
        return _form(parts, session, _next_form(parts, written, sent=_words(sent)))
    return told(request, parts, session, Flash(_words(sent), _tone(sent)), back=written.back)


async def _steer(
    request: Request, parts: Parts, session: Session, written: Written, *, agent: AgentView, slash: Slash
) -> Response:
    try:
        words = await carry_out(parts, agent, slash)
    except HiveError as error:
        return await _refused(request, parts, session, written, error)
    await parts.snapshots.refresh()
    if is_htmx(request):
        return _form(parts, session, _next_form(parts, written, sent=words))
    return told(request, parts, session, Flash(words), back=written.back)


async def _refused(request: Request, parts: Parts, session: Session, written: Written, error: HiveError) -> Response:
    """The form again, in its place, with the text kept and the reason beside it."""
    form = _next_form(parts, written, body=written.body, error=str(error))
    if is_htmx(request):
        return _form(parts, session, form)
    back = local_path(written.back)
    if back.startswith("/agents/") and parts.snapshots.current.agent(written.to):
        page = await render_agent(parts, session, written.to, compose=form)
    elif back.startswith("/messages/") and written.in_reply_to:
        page = await render_message(parts, session, written.in_reply_to, compose=form)
    else:
        page = render_home(parts, session, compose=form)
    return HTMLResponse(page, status_code=error.status)


async def _mark_answered(parts: Parts, message_id: str) -> None:
    """Who answers has read. The reply is out: nothing that fails here may look like a failed reply."""
    try:
        await parts.inbox.mark_read(message_id)
    except HiveError:
        return


def _form(parts: Parts, session: Session, form: ComposeForm) -> Response:
    return HTMLResponse(parts.renderer.compose(form, session.csrf))


def _next_form(parts: Parts, written: Written, *, body: str = "", error: str = "", sent: str = "") -> ComposeForm:
    return ComposeForm(
        to=written.to,
        body=body,
        fixed=bool(written.fixed),
        in_reply_to=written.in_reply_to,
        nonce=new_id(),
        back=local_path(written.back),
        error=error,
        sent=sent,
        recipients=tuple(agent.name for agent in parts.snapshots.current.agents),
        focus=True,
    )


def _words(sent: Sent) -> str:
    words = f"Queued for {sent.to}" if sent.state == QUEUED else f"Sent to {sent.to}"
    return f"{words}: {sent.note}" if sent.note else f"{words}."


def _tone(sent: Sent) -> str:
    return "note" if sent.state == QUEUED or sent.note else "good"
