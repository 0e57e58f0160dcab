"""`/agents/<name>/config`: the `agent.toml` that an agent runs with or a draft holds, what was deployed before, and the
operator's own changes to it."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from hive_contracts.agent_file import FILE_NAME, InvalidAgentFile, parse
from hive_contracts.approvals import MAX_DESCRIPTION, EditConfig, ReadConfig, RollBackConfig
from hive_contracts.errors import HiveError, InvalidRequest
from hive_contracts.names import check_agent_name
from hive_dashboard.answers import is_htmx
from hive_dashboard.api.configs import ConfigView
from hive_dashboard.auth import Session
from hive_dashboard.diff import text_of
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.reports import answered
from hive_dashboard.views.config import ConfigForm, ConfigPage, Configured, Deployed
from hive_dashboard.views.shell import Flash

MAX_SHA: Final = 64

router = APIRouter(prefix="/agents/{name}")


class Edited(BaseModel):
    """`before` is the commit that was looked at."""

    before: str = ""
    text: str = ""
    description: str = ""


@router.get("/config", response_class=HTMLResponse)
async def config(parts: PartsOf, session: SignedIn, name: str) -> str:
    return await render_config(parts, session, name)


@router.post("/config")
async def edit(
    request: Request, parts: PartsOf, session: SignedIn, name: str, edited: Annotated[Edited, Form()]
) -> Response:
    """Deploys it, as an approval of the operator's own; a file with mistakes comes back with each at its line."""
    text = edited.text.replace("\r\n", "\n")
    try:
        parse(text)
        wish = _wish(name, edited, text)
        done = await parts.commands.command(wish)
    except HiveError as error:
        problems = error.problems if isinstance(error, InvalidAgentFile) else ()
        form = ConfigForm(text, edited.description, problems, "" if problems else str(error))
        page = await render_config(parts, session, name, form=form)
        return HTMLResponse(page, status_code=error.status)
    await parts.snapshots.refresh()
    approval = done.get("approval")
    flash = Flash("Saved: it is being deployed." if approval else "Saved.")
    back = f"/approvals/{approval}" if approval else f"/agents/{name}/config"
    return told(request, parts, session, flash, back=back)


@router.post("/rollback")
async def roll_back(
    request: Request, parts: PartsOf, session: SignedIn, name: str, approval: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    """Deploys again what `approval` deployed; without it, what ran before the last one."""
    try:
        done = await parts.commands.command(RollBackConfig(name=check_agent_name(name), approval=approval))
    except HiveError as error:
        return told(request, parts, session, Flash(str(error), "bad"), back=f"/agents/{name}/config")
    await parts.snapshots.refresh()
    back = f"/approvals/{done['approval']}"
    if is_htmx(request):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": back})
    return told(request, parts, session, Flash("It is being deployed again."), back=back)


async def render_config(parts: Parts, session: Session, name: str, *, form: ConfigForm | None = None) -> str:
    """`form`: what was written and could not be taken."""
    found = answered(ConfigView, await parts.commands.command(ReadConfig(name=check_agent_name(name))))
    now = parts.snapshots.current
    file = await asyncio.to_thread(text_of, FILE_NAME, found.text)
    view = ConfigPage(
        make_shell(parts, session, f"{name}'s configuration", path=f"/agents/{name}/config"),
        name=name,
        draft=next((draft for draft in now.drafts if draft.name == name), None),
        config=_configured(found),
        file=file,
        form=form or ConfigForm(found.text),
        edited=form is not None,
    )
    return parts.renderer.page(view)


def _configured(found: ConfigView) -> Configured:
    deployed = (
        Deployed(one.approval, one.commit, datetime.fromisoformat(one.at), one.subject) for one in found.deployed
    )
    return Configured(found.main, tuple(found.files), tuple(deployed))


def _wish(name: str, edited: Edited, text: str) -> EditConfig:
    try:
        return EditConfig(
            name=check_agent_name(name),
            before=edited.before[:MAX_SHA],
            text=text,
            description=edited.description.strip()[:MAX_DESCRIPTION],
        )
    except ValueError as error:
        raise InvalidRequest("the page that this comes from is not whole: open it again") from error
