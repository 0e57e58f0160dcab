"""What pages share: the shell around them, where to go after a form, and forms of either kind answered."""

from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.errors import NotFound
from hive_dashboard.answers import is_htmx
from hive_dashboard.auth import Session
from hive_dashboard.parts import Parts
from hive_dashboard.registry import AgentView
from hive_dashboard.snapshot import Snapshot
from hive_dashboard.updates import HOME
from hive_dashboard.views.shell import Flash, FlashFragment, Shell


def make_shell(parts: Parts, session: Session, title: str, *, path: str, topic: str = HOME, stream: str = "") -> Shell:
    """Call it in one step with taking the snapshot: the cursor in it says from where events are missing.

    `stream` is the query of the page's events, without the cursor; empty for a page that stands still.
    """
    now: Snapshot = parts.snapshots.current
    return Shell(
        title=title,
        csrf=session.csrf,
        path=path,
        stream=f"/stream?{stream}&after={parts.hub.cursor(topic)}" if stream else "",
        look=session.look,
        needs=len(now.needs),
        unread=now.operator_unread,
        dead=now.dead,
        pending=len(now.pending),
        warnings=now.warnings,
        flashes=parts.flashes.take(session),
    )


def known_agent(parts: Parts, name: str) -> AgentView:
    """Raises `NotFound`, `Unavailable`. Only names of the registry go on from here into paths and topics."""
    agent = parts.snapshots.find(name)
    if agent is None:
        raise NotFound(f"there is no agent called {name!r}; the hive's page lists those there are")
    return agent


def local_path(path: str, default: str = "/") -> str:
    """`path` when it is one of ours: never another site's address."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return quote(path, safe="/?=&%-._~") if plain else default


def told(request: Request, parts: Parts, session: Session, flash: Flash, *, back: str) -> Response:
    """After an action: a remark in place for htmx, else the page again with the remark on it."""
    if is_htmx(request):
        return HTMLResponse(parts.renderer.page(FlashFragment((flash,))))
    parts.flashes.add(session, flash)
    return RedirectResponse(local_path(back), status_code=HTTPStatus.SEE_OTHER)
