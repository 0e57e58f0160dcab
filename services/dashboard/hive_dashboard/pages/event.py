"""`/agents/<name>/events/<id>`: one event of the turn stream, drawn whole; for an open page only the edits of it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from hive_contracts.errors import NotFound
from hive_dashboard.answers import is_htmx
from hive_dashboard.pages.shell import known_agent, make_shell
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.turns import Row, row_of
from hive_dashboard.views.turns import EditsFragment, EventPage
from hive_runtime.records.events import RecordedEvent

router = APIRouter(prefix="/agents/{name}")


@router.get("/events/{event_id}", response_class=HTMLResponse)
async def event(
    request: Request,
    parts: PartsOf,
    session: SignedIn,
    name: str,
    event_id: Annotated[str, Path(max_length=64)],
) -> str:
    agent = known_agent(parts, name)
    found = parts.live.event(name, event_id) or await asyncio.to_thread(parts.events(name).get, event_id)
    if found is None:
        raise NotFound(f"there is no event {event_id} of {name}; it may be older than what is kept")
    row = await asyncio.to_thread(_drawn, found)
    if is_htmx(request):
        return parts.renderer.page(EditsFragment(row.card))
    shell = make_shell(parts, session, f"An event of {name}", path=f"/agents/{name}/events/{event_id}")
    return parts.renderer.page(EventPage(shell, agent=agent, event=found, row=row))


def _drawn(event: RecordedEvent) -> Row:
    """With its edits, which take time. Blocks."""
    row = row_of(event)
    for edit in row.card.edits:
        edit.file  # noqa: B018 - remembered from here on
    return row
