"""`/messages` and `/messages/<id>`, the form that sends, and the button that marks as read."""

import asyncio
import re
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from hive_contracts.errors import HiveError, NotFound
from hive_contracts.ids import new_id
from hive_contracts.messages import MessageView
from hive_contracts.names import OPERATOR, SYSTEM
from hive_dashboard.answers import is_htmx
from hive_dashboard.auth import Session
from hive_dashboard.commands import QUEUED, Sent
from hive_dashboard.idempotency import key_of
from hive_dashboard.pages.agent import render_agent
from hive_dashboard.pages.home import Of, messages_of, render_home
from hive_dashboard.pages.shell import local_path, make_shell, told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.registry import AgentView
from hive_dashboard.slash import Slash, carry_out, parse
from hive_dashboard.views.compose import ComposeForm, reply_form
from hive_dashboard.views.messages import Filter, MessagePage, MessagesPage
from hive_dashboard.views.shell import Flash

PAGE_LENGTH: Final = 50
BROADCAST: Final = "*"
EVERYONE: Final = "everyone"

_MENTION: Final = re.compile(r"\s*@([a-z0-9-]+)[,:]?\s+(?=\S)")

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
    agent: Of = "",
    kind: Of = "",
    before: Annotated[str | None, Query(max_length=64)] = None,
) -> str:
    chosen = Filter(agent, kind)
    shell = make_shell(parts, session, "Messages", path="/messages", stream="" if before else "page=home")
    found = await asyncio.to_thread(messages_of, parts, chosen, before=before, limit=PAGE_LENGTH)
    query = {"agent": agent, "kind": kind, "before": found[-1].id if found else ""}
    view = MessagesPage(
        shell,
        messages=found,
        agents=tuple(item.name for item in parts.snapshots.current.agents),
        chosen=chosen,
        older=f"/messages?{urlencode(query)}" if len(found) == PAGE_LENGTH else "",
        live=before is None,
    )
    return parts.renderer.page(view)


@router.get("/messages/{message_id}", response_class=HTMLResponse)
async def message(parts: PartsOf, session: SignedIn, message_id: str) -> str:
    return await render_message(parts, session, message_id)


async def render_message(parts: Parts, session: Session, message_id: str, *, compose: ComposeForm | None = None) -> str:
    shell = make_shell(parts, session, "Trace", path=f"/messages/{message_id}", stream="page=home")
    found = await asyncio.to_thread(_message_or_first, parts, message_id)
    if found is None:
        raise NotFound(f"there is no message {message_id[:64]}; `/messages` lists those there are")
    if found.recipient == OPERATOR and found.sender != SYSTEM:
        compose = compose or reply_form(found, nonce=new_id(), back=f"/messages/{found.id}")
    conversation = await asyncio.to_thread(parts.messages.conversation, found.trace_id)
    return parts.renderer.page(MessagePage(shell, message=found, conversation=conversation, compose=compose))


def _message_or_first(parts: Parts, message_id: str) -> MessageView | None:
    """Of a conversation's id its first message: that of a broadcast is no message's. Blocks."""
    return parts.message(message_id) or next(iter(parts.messages.conversation(message_id)), None)


@router.post("/messages/{message_id}/read")
async def mark_read(request: Request, parts: PartsOf, session: SignedIn, message_id: str) -> Response:
    await parts.inbox.mark_read(message_id)
    if is_htmx(request):
        return HTMLResponse("")
    return told(request, parts, session, Flash("Marked as read."), back="/")


@router.post("/send")
async def send(request: Request, parts: PartsOf, session: SignedIn, written: Annotated[Written, Form()]) -> Response:
    written = addressed(written, {agent.name for agent in parts.snapshots.current.present})
    try:
        agent = parts.snapshots.find(written.to)
        if agent and written.back == f"/agents/{agent.name}" and (slash := parse(written.body)):
            return await _steer(request, parts, session, written, agent=agent, slash=slash)
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


def addressed(written: Written, names: set[str]) -> Written:
    """`@ada do this` goes to ada, `@everyone …` to all, whoever was picked; other words that begin so stay words."""
    found = None if written.fixed else _MENTION.match(written.body)
    if found is None or found[1] not in names | {EVERYONE}:
        return written
    to = BROADCAST if found[1] == EVERYONE else found[1]
    return written.model_copy(update={"to": to, "body": written.body[found.end() :]})


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
        page = await render_home(parts, session, compose=form)
    return HTMLResponse(page, status_code=error.status)


async def _mark_answered(parts: Parts, message_id: str) -> None:
    """Who answers has read, the whole conversation. The reply is out: nothing that fails here may look like a failed
    reply."""
    threads = parts.snapshots.current.threads
    unread = {
        letter.id
        for thread in threads
        for letter in thread.unread
        if any(one.id == message_id for one in thread.letters)
    }
    for letter in {message_id, *unread}:
        try:
            await parts.inbox.mark_read(letter)
        except HiveError:
            continue


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
        recipients=tuple(agent.name for agent in parts.snapshots.current.present),
        focus=True,
    )


def _words(sent: Sent) -> str:
    to = EVERYONE if sent.to == BROADCAST else sent.to
    words = f"Queued for {to}" if sent.state == QUEUED else f"Sent to {to}"
    return f"{words}: {sent.note}" if sent.note else f"{words}."


def _tone(sent: Sent) -> str:
    return "note" if sent.state == QUEUED or sent.note else "good"
