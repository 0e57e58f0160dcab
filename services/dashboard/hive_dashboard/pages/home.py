"""`/`: agents, message flow, compose box and the operator's inbox; and the form that makes an agent."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.agents import SpawnAgent
from hive_contracts.errors import HiveError
from hive_contracts.ids import new_id
from hive_contracts.names import check_agent_name
from hive_dashboard.auth import Session
from hive_dashboard.kept import Kept, kept_of
from hive_dashboard.pages.shell import make_shell
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.views import ComposeForm, Flash, HomePage, reply_form

router = APIRouter()


def render_home(
    parts: Parts,
    session: Session,
    *,
    compose: ComposeForm | None = None,
    spawn_name: str = "",
    spawn_error: str = "",
    kept: tuple[Kept, ...] = (),
) -> str:
    """The page, with what was typed into it kept."""
    now = parts.snapshots.current
    names = tuple(agent.name for agent in now.agents)
    view = HomePage(
        make_shell(parts, session, "Hive", path="/", stream="page=home"),
        agents=now.agents,
        flow=now.flow,
        questions=now.questions,
        approvals=now.pending,
        drafts=now.drafts,
        letters=tuple((message, reply_form(message, nonce=new_id())) for message in now.inbox),
        compose=compose or ComposeForm(to=names[0] if names else "", recipients=names, nonce=new_id()),
        spawn_name=spawn_name,
        spawn_error=spawn_error,
        kept=kept,
    )
    return parts.renderer.page(view)


@router.get("/", response_class=HTMLResponse)
async def home(parts: PartsOf, session: SignedIn) -> str:
    kept = await asyncio.to_thread(kept_of, parts.snapshots.current.agents, parts.data_dir)
    return render_home(parts, session, kept=kept)


@router.post("/agents")
async def spawn(parts: PartsOf, session: SignedIn, name: Annotated[str, Form()] = "") -> Response:
    name = name.strip()
    try:
        await parts.commands.command(SpawnAgent(name=check_agent_name(name)))
    except HiveError as error:
        page = render_home(parts, session, spawn_name=name, spawn_error=str(error))
        return HTMLResponse(page, status_code=error.status)
    await parts.snapshots.refresh()
    parts.flashes.add(session, Flash(f"{name} is there and starts."))
    return RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
