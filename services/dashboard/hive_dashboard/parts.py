"""The parts that pages and API stand on, as `service` built them, and how a request gets at them."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from hive_contracts.messages import MessageView
from hive_dashboard.audit import who
from hive_dashboard.auth import CSRF_FIELD, CSRF_HEADER, Auth, Session
from hive_dashboard.commands import Commands
from hive_dashboard.config import DashboardSettings
from hive_dashboard.hub import Hub
from hive_dashboard.idempotency import claim
from hive_dashboard.inbox import OperatorInbox
from hive_dashboard.kept import KeptSizes
from hive_dashboard.live import Live
from hive_dashboard.look import Look, cookie_name, look_in
from hive_dashboard.metrics import Metrics
from hive_dashboard.render import Renderer
from hive_dashboard.snapshot import Snapshots
from hive_dashboard.store import SessionStore
from hive_dashboard.store_alerts import AlertStore
from hive_dashboard.store_answers import Answers
from hive_dashboard.store_audit import AuditLog
from hive_dashboard.store_terminals import TerminalSwitches
from hive_dashboard.store_tokens import TokenStore
from hive_dashboard.turns import UNSHOWN
from hive_dashboard.views.shell import Flash
from hive_runtime.bus import Bus
from hive_runtime.records.approvals import ApprovalReader
from hive_runtime.records.events import EventReader
from hive_runtime.records.history import History
from hive_runtime.records.messages import MessageReader
from hive_runtime.records.threads import ThreadReader

RECORDED_S: Final = 1.0
LOOK_S: Final = 0.02

_MESSAGE_ID: Final = re.compile("m-[0-9a-z]{16}")


@dataclass(slots=True)
class Flashes:
    """What to tell a browser on its next page, by session. Lost with the process, like any remark."""

    _waiting: dict[str, list[Flash]] = field(default_factory=dict)

    def add(self, session: Session, flash: Flash) -> None:
        self._waiting.setdefault(session.key, []).append(flash)

    def take(self, session: Session) -> tuple[Flash, ...]:
        return tuple(self._waiting.pop(session.key, ()))


@dataclass(frozen=True, slots=True)
class Parts:
    config: DashboardSettings
    data_dir: Path
    bus: Bus
    store: SessionStore
    auth: Auth
    tokens: TokenStore
    audit: AuditLog
    alerts: AlertStore
    terminals: TerminalSwitches
    answers: Answers
    snapshots: Snapshots
    hub: Hub
    live: Live
    commands: Commands
    inbox: OperatorInbox
    messages: MessageReader
    threads: ThreadReader
    approvals: ApprovalReader
    renderer: Renderer
    clock: Callable[[], datetime]
    kept: KeptSizes
    flashes: Flashes = field(default_factory=Flashes)
    metrics: Metrics = field(default_factory=Metrics)

    def message(self, message_id: str) -> MessageView | None:
        """The record follows a delivery by some milliseconds, and who sent has its id at once. Blocks."""
        last_look = time.monotonic() + (RECORDED_S if _MESSAGE_ID.fullmatch(message_id) else 0)
        while True:
            found = self.messages.get(message_id)
            if found or time.monotonic() >= last_look:
                return found
            time.sleep(LOOK_S)

    def events(self, agent: str) -> EventReader:
        """The event history of an agent that is in the registry."""
        return EventReader(self.data_dir / "agents" / agent / "events.sqlite")

    def history(self, agent: str) -> History:
        """The same, a window at a time."""
        return History(self.data_dir / "agents" / agent / "events.sqlite", without=UNSHOWN)


class With:
    """ASGI middleware: each request finds these parts."""

    def __init__(self, parts: Parts, app: ASGIApp) -> None:
        self._parts = parts
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["parts"] = self._parts
        await self._app(scope, receive, send)


def parts_of(request: HTTPConnection) -> Parts:
    return cast(Parts, request.state.parts)


def look_of_request(request: Request) -> Look:
    return look_in(request.cookies.get(cookie_name(parts_of(request).config.port), ""))


async def signed_in(request: Request) -> Session:
    """The session of a page's request. On a post the form must be ours."""
    parts = parts_of(request)
    session = replace(parts.auth.require_session(request), look=look_of_request(request))
    if request.method == "POST":
        token = request.headers.get(CSRF_HEADER) or (await request.form()).get(CSRF_FIELD)
        session.check_csrf(token)
    return session


async def api_client(request: Request) -> None:
    """A call of the API; one that was answered before under its idempotency key goes no further."""
    parts = parts_of(request)
    parts.auth.require_api(request)
    await claim(request, parts.answers, who=who())


PartsOf = Annotated[Parts, Depends(parts_of)]
SignedIn = Annotated[Session, Depends(signed_in)]
