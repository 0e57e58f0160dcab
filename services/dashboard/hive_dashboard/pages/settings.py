"""`/settings`: how this browser wants its pages, and how the hive is set up; `/settings/components` in debug mode."""

import asyncio
import os
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.errors import NotFound
from hive_dashboard.look import LOOK_DAYS, cookie_name, look_of
from hive_dashboard.pages.shell import make_shell
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.reference import sections
from hive_dashboard.views.settings import ComponentsPage, SettingsPage
from hive_dashboard.views.shell import Flash

router = APIRouter(prefix="/settings")


@router.get("", response_class=HTMLResponse)
async def settings(parts: PartsOf, session: SignedIn) -> str:
    found = await asyncio.to_thread(sections, parts.data_dir, os.environ)
    now = parts.snapshots.current
    shell = make_shell(parts, session, "Settings", path="/settings", stream="page=home")
    return parts.renderer.page(SettingsPage(shell, now.info, now.services, found, parts.config.debug))


@router.post("/look")
async def set_look(request: Request, parts: PartsOf, session: SignedIn) -> Response:
    """Of this browser only."""
    form = await request.form()
    look = look_of({key: value for key, value in form.items() if isinstance(value, str)})
    response = RedirectResponse("/settings", status_code=HTTPStatus.SEE_OTHER)
    response.set_cookie(
        cookie_name(parts.config.port),
        look.cookie(),
        max_age=LOOK_DAYS * 24 * 3600,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    parts.flashes.add(session, Flash("This browser shows its pages so from now on."))
    return response


@router.get("/components", response_class=HTMLResponse)
async def components(parts: PartsOf, session: SignedIn) -> str:
    if not parts.config.debug:
        raise NotFound("the components are shown in debug mode: set debug = true in [dashboard] of hive.toml")
    shell = make_shell(parts, session, "Components", path="/settings/components")
    return parts.renderer.page(ComponentsPage(shell))
