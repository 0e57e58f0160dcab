"""`/retention`: what the last sweep removed, what the next one would, and the buttons for both."""

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from hive_contracts.errors import HiveError
from hive_contracts.retention import RetentionSwept, SweepRetention
from hive_dashboard.auth import Session
from hive_dashboard.errors import Unreadable
from hive_dashboard.pages.shell import make_shell
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.reports import answered, last_sweep
from hive_dashboard.views.settings import RetentionPage

router = APIRouter()


@router.get("/retention", response_class=HTMLResponse)
async def retention(parts: PartsOf, session: SignedIn) -> str:
    return await _page(parts, session)


@router.post("/retention", response_class=HTMLResponse)
async def sweep(parts: PartsOf, session: SignedIn, wish: Annotated[str, Form(pattern="^(look|sweep)$")]) -> Response:
    """`look`: only tell what would go. To ask twice does no harm, so the answer is the page itself."""
    try:
        result = await parts.commands.command(SweepRetention(dry_run=wish == "look"))
        page = await _page(parts, session, planned=answered(RetentionSwept, result))
    except HiveError as error:
        return HTMLResponse(await _page(parts, session, error=str(error)), status_code=error.status)
    return HTMLResponse(page)


async def _page(parts: Parts, session: Session, *, planned: RetentionSwept | None = None, error: str = "") -> str:
    last = None
    try:
        last = await last_sweep(parts.bus)
    except Unreadable as unreadable:  # the page has the button that mends it
        error = error or str(unreadable)
    shell = make_shell(parts, session, "Retention", path="/retention")
    return parts.renderer.page(RetentionPage(shell, last, planned if planned and planned.dry_run else None, error))
