"""`/palette`: every place there is, as links. The palette (Ctrl-K) is made of it; without JavaScript it is a page."""

from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from hive_dashboard.pages.shell import make_shell
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.registry import AgentView
from hive_dashboard.views.settings import PalettePage, Place

PAGES: Final = (
    Place("Hive", "/", "what needs you, agents, messages"),
    Place("Messages", "/messages", "all of them"),
    Place("Questions", "/questions", "open and answered"),
    Place("Approvals", "/approvals", "what waits and what was decided"),
    Place("Dead letters", "/dead-letters", "messages that were given up"),
    Place("Retention", "/retention", "what the last sweep removed"),
    Place("Settings", "/settings", "look, keys, notifications, the hive's settings"),
    Place("Access", "/settings/access", "tokens and signed-in browsers"),
    Place("Audit", "/audit", "what operators did"),
)

router = APIRouter()


@router.get("/palette", response_class=HTMLResponse)
async def palette(parts: PartsOf, session: SignedIn) -> str:
    agents = tuple(place for agent in parts.snapshots.current.agents for place in _places(agent))
    return parts.renderer.page(PalettePage(make_shell(parts, session, "Find", path="/palette"), PAGES + agents))


def _places(agent: AgentView) -> Iterator[Place]:
    yield Place(agent.name, f"/agents/{agent.name}", "its turns and controls")
    yield Place(f"{agent.name} figures", f"/agents/{agent.name}/stats", "over hours and days")
    yield Place(f"{agent.name} messages", f"/messages?agent={agent.name}", "to and from it")
