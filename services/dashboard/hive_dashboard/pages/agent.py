"""`/agents/<name>`: the turn stream, the agent's state and inbox, and the buttons that steer it."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.agents import DestroyAgent, RebuildAgent, RestartAgent, SpawnAgent, StartAgent, StopAgent
from hive_contracts.errors import HiveError, InvalidBody, NotFound
from hive_contracts.ids import new_id
from hive_contracts.models import SetModel, wanted_model
from hive_dashboard.auth import Session
from hive_dashboard.control import CONTROLS, tell
from hive_dashboard.kept import kept_of
from hive_dashboard.live import agent_topic
from hive_dashboard.pages.shell import local_path, make_shell, told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.registry import AgentView
from hive_dashboard.slash import model_words
from hive_dashboard.snapshot import AGENT_INBOX_LENGTH
from hive_dashboard.turns import turns_of
from hive_dashboard.views import AgentPage, ComposeForm, Flash

PAGE_EVENTS: Final = 300
VERBS: Final = {
    "start": (StartAgent, "{} starts."),
    "stop": (StopAgent, "{} is stopped; messages wait in its inbox."),
    "restart": (RestartAgent, "{} restarts."),
    "rebuild": (RebuildAgent, "{} is up to date."),
    "destroy": (DestroyAgent, "{} is destroyed. What it has is kept, and comes back when you revive it."),
    "revive": (SpawnAgent, "{} is back, with all that was kept, and starts."),
}

router = APIRouter(prefix="/agents/{name}")


def known_agent(parts: Parts, name: str) -> AgentView:
    """Raises `NotFound`. Only names of the registry go on from here into paths and topics."""
    agent = parts.snapshots.current.agent(name)
    if agent is None:
        raise NotFound(f"there is no agent called {name!r}; the hive's page lists those there are")
    return agent


async def render_agent(
    parts: Parts, session: Session, name: str, *, compose: ComposeForm | None = None, before: str | None = None
) -> str:
    """The newest end of the history, kept up to date, or an older part of it, which stands still."""
    known_agent(parts, name)
    stored = await asyncio.to_thread(parts.events(name).page, before=before, limit=PAGE_EVENTS)
    inbox = await asyncio.to_thread(parts.messages.inbox, name, limit=AGENT_INBOX_LENGTH)
    events = stored if before else parts.live.joined(name, stored)
    path = f"/agents/{name}"
    stream = "" if before else urlencode({"page": "agent", "name": name})
    view = AgentPage(
        make_shell(parts, session, name, path=path, topic=agent_topic(name), stream=stream),
        agent=known_agent(parts, name),
        turns=turns_of(events),
        inbox=tuple(inbox),
        compose=compose or ComposeForm(to=name, fixed=True, nonce=new_id(), back=path),
        older=f"{path}?{urlencode({'before': stored[0].id})}" if len(stored) == PAGE_EVENTS else "",
        newer=path if before else "",
        kept=next(iter(await asyncio.to_thread(kept_of, [known_agent(parts, name)], parts.data_dir)), None),
    )
    return parts.renderer.page(view)


@router.get("", response_class=HTMLResponse)
async def agent(
    parts: PartsOf, session: SignedIn, name: str, before: Annotated[str | None, Query(max_length=64)] = None
) -> str:
    return await render_agent(parts, session, name, before=before)


@router.post("/model")
async def set_model(
    request: Request, parts: PartsOf, session: SignedIn, name: str, model: Annotated[str, Form(max_length=100)] = ""
) -> Response:
    """Override its model; nothing given takes the override away."""
    agent = known_agent(parts, name)
    try:
        await parts.commands.command(SetModel(name=name, model=wanted_model(model)))
        flash = Flash(model_words(agent, model.strip()))
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back=f"/agents/{name}")


@router.post("/purge")
async def purge(
    parts: PartsOf, session: SignedIn, name: str, sure: Annotated[str, Form(max_length=100)] = ""
) -> Response:
    """Wipe all that it has. `sure` is its name, typed once more."""
    known_agent(parts, name)
    flash, back = Flash(f"{name} is gone, with all that it had."), "/"
    try:
        if sure.strip() != name:
            raise InvalidBody(f"nothing was done: type {name} to wipe all that it has")
        await parts.commands.command(DestroyAgent(name=name, purge=True))
    except HiveError as error:
        flash, back = Flash(str(error), "bad"), f"/agents/{name}"
    await parts.snapshots.refresh()
    parts.flashes.add(session, flash)
    return RedirectResponse(local_path(back), status_code=HTTPStatus.SEE_OTHER)


@router.post("/{verb}")
async def act(request: Request, parts: PartsOf, session: SignedIn, name: str, verb: str) -> Response:
    agent = known_agent(parts, name)
    if verb not in VERBS and verb not in CONTROLS:
        raise NotFound(f"nothing called {verb!r} can be done with an agent")
    words = VERBS[verb][1] if verb in VERBS else CONTROLS[verb].words
    flash = Flash(words.format(name))
    try:
        if verb in VERBS:
            await parts.commands.command(VERBS[verb][0](name=name))
        else:
            control = CONTROLS[verb]
            await tell(parts.commands, agent, control.payload(await request.form()), within_s=control.within_s)
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back=f"/agents/{name}")
