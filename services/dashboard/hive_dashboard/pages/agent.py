"""`/agents/<name>`: the turn stream, the agent's state and inbox, and the buttons that steer it."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.agents import DestroyAgent, RebuildAgent, RestartAgent, SpawnAgent, StartAgent, StopAgent
from hive_contracts.errors import HiveError, InvalidBody, NotFound
from hive_contracts.ids import new_id
from hive_contracts.models import SetModel, wanted_model
from hive_dashboard.auth import Session
from hive_dashboard.control import CONTROLS, tell
from hive_dashboard.kept import kept_of
from hive_dashboard.live import agent_topic
from hive_dashboard.pages.shell import known_agent, local_path, make_shell, told
from hive_dashboard.pages.turns import Place, newest_stream, search_in, still_stream, window_at
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.slash import model_words
from hive_dashboard.snapshot import AGENT_INBOX_LENGTH
from hive_dashboard.views.agent import AgentPage
from hive_dashboard.views.compose import ComposeForm
from hive_dashboard.views.shell import Flash
from hive_runtime.records.history import Window

NEWEST: Final = Place()
VERBS: Final = {
    "start": (StartAgent, "{} starts."),
    "stop": (StopAgent, "{} is stopped; messages wait in its inbox."),
    "restart": (RestartAgent, "{} restarts."),
    "rebuild": (RebuildAgent, "{} is up to date."),
    "destroy": (DestroyAgent, "{} is destroyed. What it has is kept, and comes back when you revive it."),
    "revive": (SpawnAgent, "{} is back, with all that was kept, and starts."),
}

router = APIRouter(prefix="/agents/{name}")


async def render_agent(
    parts: Parts, session: Session, name: str, *, compose: ComposeForm | None = None, place: Place = NEWEST
) -> str:
    """The newest end of the history, kept up to date, or another part of it, which stands still; the rest is live."""
    known_agent(parts, name)
    search = await search_in(parts, name, place.q, place.before) if place.q.strip() else None
    window = Window([]) if search else await window_at(parts, name, place)
    inbox = await asyncio.to_thread(parts.messages.inbox, name, limit=AGENT_INBOX_LENGTH)
    kept = await asyncio.to_thread(kept_of, [known_agent(parts, name)], parts.data_dir)

    # in one step, so that nothing is missing between what is drawn and what the page is told from then on
    path, topic = f"/agents/{name}", agent_topic(name)
    stream = urlencode({"page": "agent", "name": name})
    shell = make_shell(parts, session, name, path=path, topic=topic, stream=stream)
    agent = known_agent(parts, name)
    if place.is_newest:
        window = replace(window, events=parts.live.joined(name, window.events))

    view = AgentPage(
        shell,
        agent=agent,
        stream=await asyncio.to_thread(newest_stream if place.is_newest else still_stream, name, window),
        inbox=tuple(inbox),
        compose=compose or ComposeForm(to=name, fixed=True, nonce=new_id(), back=path),
        search=search,
        kept=next(iter(kept), None),
    )
    return parts.renderer.page(view)


@router.get("", response_class=HTMLResponse)
async def agent(parts: PartsOf, session: SignedIn, name: str, place: Annotated[Place, Depends()]) -> str:
    return await render_agent(parts, session, name, place=place)


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
    flash, form = Flash(words.format(name)), await request.form()
    try:
        if verb in VERBS:
            await parts.commands.command(VERBS[verb][0](name=name))
        else:
            control = CONTROLS[verb]
            await tell(parts.commands, agent, control.payload(form), within_s=control.within_s)
    except HiveError as error:
        flash = Flash(str(error), "bad")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back=str(form.get("back") or f"/agents/{name}"))
