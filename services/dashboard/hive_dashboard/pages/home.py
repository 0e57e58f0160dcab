"""`/`: agents, message flow, compose box and the operator's inbox; and the form that makes an agent."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.agents import SpawnAgent
from hive_contracts.errors import HiveError, NotFound
from hive_contracts.ids import new_id
from hive_contracts.messages import MessageKind, MessageView
from hive_contracts.models import AgentConfig
from hive_contracts.names import check_agent_name
from hive_dashboard.approval_queue import queue_chart
from hive_dashboard.auth import Session
from hive_dashboard.charts import Chart
from hive_dashboard.errors import InvalidRequest
from hive_dashboard.pages.shell import make_shell
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.snapshot import FLOW_LENGTH
from hive_dashboard.views.compose import ComposeForm, reply_form
from hive_dashboard.views.home import HomePage, SpawnForm, totals_of
from hive_dashboard.views.messages import Filter
from hive_dashboard.views.shell import Flash

Of = Annotated[str, Query(max_length=64)]

router = APIRouter()


async def render_home(
    parts: Parts,
    session: Session,
    *,
    compose: ComposeForm | None = None,
    chosen: Filter | None = None,
    spawn: SpawnForm | None = None,
) -> str:
    """The page, with what was typed into it kept. What was not `chosen` is left out of the message flow."""
    chosen = chosen or Filter()
    found = await asyncio.to_thread(messages_of, parts, chosen, limit=FLOW_LENGTH) if chosen.active else None
    kept = await asyncio.to_thread(parts.kept.of, parts.snapshots.current.agents)
    queue = await asyncio.to_thread(_queue_of, parts)
    now = parts.snapshots.current
    names = tuple(agent.name for agent in now.present)
    view = HomePage(
        make_shell(parts, session, "Hive", path="/", stream="page=home"),
        agents=now.present,
        needs=now.needs,
        drafts=now.drafts,
        totals=totals_of(now.present),
        flow=now.flow if found is None else tuple(found),
        threads=tuple((thread, reply_form(thread.received, nonce=new_id())) for thread in now.threads),
        compose=compose or ComposeForm(to=names[0] if names else "", recipients=names, nonce=new_id()),
        chosen=chosen,
        spawn=spawn or SpawnForm(),
        kept=kept,
        queue=queue,
    )
    return parts.renderer.page(view)


def _queue_of(parts: Parts) -> Chart | None:
    """Blocks. None while the store of approvals cannot be read: the page is more than this chart."""
    try:
        return queue_chart(parts.data_dir, parts.clock())
    except HiveError:
        return None


def messages_of(parts: Parts, chosen: Filter, *, before: str | None = None, limit: int) -> list[MessageView]:
    """The newest that fit. Blocks. Raises `InvalidRequest` for a kind that there is not."""
    try:
        kind = MessageKind(chosen.kind) if chosen.kind else None
    except ValueError as error:
        raise InvalidRequest(f"kind is not valid: it is one of {', '.join(MessageKind)}, or empty for all") from error
    return parts.messages.recent(agent=chosen.agent or None, kind=kind, before=before, limit=limit)


@router.get("/", response_class=HTMLResponse)
async def home(parts: PartsOf, session: SignedIn, agent: Of = "", kind: Of = "") -> str:
    return await render_home(parts, session, chosen=Filter(agent, kind))


@router.get("/approvals/queue", response_class=HTMLResponse)
async def queue(parts: PartsOf, _session: SignedIn) -> str:
    """The chart of what waited, for a page that is open."""
    return parts.renderer.queue(await asyncio.to_thread(_queue_of, parts))


@router.post("/agents")
async def make(
    parts: PartsOf, session: SignedIn, name: Annotated[str, Form()] = "", like: Annotated[str, Form()] = ""
) -> Response:
    """`like`: the agent whose configuration it gets a copy of; empty for the default."""
    name = name.strip()
    try:
        config = _config_of(parts, like) if like else AgentConfig()
        await parts.commands.command(SpawnAgent(name=check_agent_name(name), config=config))
    except HiveError as error:
        page = await render_home(parts, session, spawn=SpawnForm(name, like, str(error)))
        return HTMLResponse(page, status_code=error.status)
    await parts.snapshots.refresh()
    parts.flashes.add(session, Flash(f"{name} is there and starts."))
    return RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)


def _config_of(parts: Parts, name: str) -> AgentConfig:
    found = parts.snapshots.find(name)
    if found is None:
        raise NotFound(f"there is no agent called {name[:64]!r} to be like")
    return found.config
