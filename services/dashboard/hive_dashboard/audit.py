"""Who did what: each action of the operator is written down before it is done, and what became of it after.

`Audited` gives each request a note; who asks is put into it by `auth`, what is asked by `Commands`, a row a command. A
post that leads to no command is one row by itself. Reading is no action. A log that cannot be written stops nobody: a
full disk must not keep the operator from stopping an agent; then the process's own log is what there is.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hive_contracts.envelope import Payload
from hive_contracts.errors import HiveError
from hive_dashboard.security import SAFE_METHODS
from hive_dashboard.store_audit import ASKED, Action, AuditLog, flat
from hive_runtime.errors import StoreUnavailable

DONE: Final = "done"
LOCAL: Final = "local"
NOBODY: Final = "-"
SIGN_IN: Final = "/sign-in"
MAX_DETAIL: Final = 500
MAX_VALUE: Final = 160
MAX_ITEMS: Final = 3
"""Of a long list."""

TARGETS: Final = ("name", "agent", "id", "to", "message_id")
"""Fields of a command that say what it is about; the first that is there."""

LEFT_OUT: Final = frozenset({"body", "code", "bundle"})
"""Kept elsewhere, or to be kept nowhere. So is every field that pydantic does not show."""

log = structlog.get_logger()


@dataclass(slots=True)
class Note:
    """Of one request, or of one terminal. `rows` counts what was written of it."""

    audit: AuditLog
    clock: Callable[[], datetime]
    address: str = ""
    who: str = NOBODY
    rows: int = 0

    def begin(self, action: str, target: str, detail: str = "", *, outcome: str = ASKED, reason: str = "") -> int:
        """The row, 0 when it could not be written."""
        self.rows += 1
        about = Action(
            id="",
            time=self.clock(),
            who=self.who,
            address=self.address,
            action=action,
            target=target[:MAX_VALUE],
            detail=detail[:MAX_DETAIL],
            outcome=outcome,
            reason=reason[:MAX_DETAIL],
        )
        log.info("operator action", **about.model_dump(exclude={"id", "time", "facts"}))
        try:
            return self.audit.add(about)
        except StoreUnavailable as error:
            log.warning("audit log cannot be written", action=action, target=target, reason=str(error))
            return 0

    def end(self, row: int, outcome: str, reason: str = "") -> None:
        try:
            self.audit.finish(row, outcome, reason[:MAX_DETAIL])
        except StoreUnavailable as error:
            log.warning("audit log cannot be written", row=row, outcome=outcome, reason=str(error))


_NOTE: Final[ContextVar[Note | None]] = ContextVar("note", default=None)


def identify(who: str) -> None:
    """The request in hand is this one's."""
    if note := _NOTE.get():
        note.who = who


def who() -> str:
    """Whose the request in hand is."""
    note = _NOTE.get()
    return note.who if note else NOBODY


@contextmanager
def recorded(payload: Payload, *, target: str = "") -> Iterator[None]:
    """A command that is given in this block, and how that ended."""
    with acted(payload.TYPE, target or target_of(payload), detail_of(payload)):
        yield


@contextmanager
def acted(action: str, target: str, detail: str = "") -> Iterator[None]:
    """The same for what is no command."""
    note = _NOTE.get()
    if note is None:
        yield
        return
    row = note.begin(action, target, detail)
    try:
        yield
    except HiveError as error:
        note.end(row, error.code, str(error))
        raise
    except BaseException as error:
        note.end(row, "broken_off", type(error).__name__)
        raise
    note.end(row, DONE)


def target_of(payload: Payload) -> str:
    return next((str(value) for name in TARGETS if isinstance(value := getattr(payload, name, None), str)), "")


def detail_of(payload: Payload) -> str:
    """Its other fields that say anything, as short JSON; none that is secret."""
    fields = type(payload).model_fields
    hidden = {name for name, about in fields.items() if about.repr is False}
    values = payload.model_dump(mode="json", exclude=hidden | LEFT_OUT | set(TARGETS), exclude_defaults=True)
    return _fitting({name: _short(value) for name, value in flat(values) if value not in (None, "", [], {})})


def _fitting(shown: dict[str, Any]) -> str:
    """Whole JSON of at most `MAX_DETAIL` characters; the last fields go first."""
    text, left_out = json.dumps(shown, ensure_ascii=False), 0
    while len(text) > MAX_DETAIL:
        shown.popitem()
        left_out += 1
        text = json.dumps(shown | {"left_out": left_out}, ensure_ascii=False)
    return text if shown or left_out else ""


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(json.dumps(value, ensure_ascii=False)) > MAX_VALUE:
        return [*(str(one)[:MAX_VALUE] for one in value[:MAX_ITEMS]), "…"]
    return value[:MAX_VALUE] + "…" if isinstance(value, str) and len(value) > MAX_VALUE else value


class Audited:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, *, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._audit = audit
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_action(scope):
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        note = Note(self._audit, self._clock, address=client[0] if client else "")
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = _NOTE.set(note)
        try:
            await self._app(scope, receive, watched)
        finally:
            _NOTE.reset(token)
            if not note.rows and _counts(note, scope["path"], status):
                _note_request(note, scope, status)


def _is_action(scope: Scope) -> bool:
    return scope["method"] not in SAFE_METHODS or (scope["path"] == SIGN_IN and b"token=" in scope["query_string"])


def _counts(note: Note, path: str, status: int) -> bool:
    """Of those who are nobody only sign-ins count, as often as they may be tried: strangers fill no disk."""
    return note.who != NOBODY or (path == SIGN_IN and status != HTTPStatus.TOO_MANY_REQUESTS)


def _note_request(note: Note, scope: Scope, status: int) -> None:
    """`POST /api/v1/messages/m-1/read` is `read` of `messages/m-1`."""
    parts = scope["path"].removeprefix("/api/v1").strip("/").split("/")
    action, target = (parts[-1], "/".join(parts[:-1])) if len(parts) > 1 else (parts[0], "")
    outcome = DONE if status < HTTPStatus.BAD_REQUEST else str(status)
    name = action if scope["method"] in {"POST", "GET"} else f"{scope['method'].lower()} {action}"
    note.begin(name, target, outcome=outcome)
