"""Idempotency keys: the same thing asked for twice is done once.

`POST /api/v1/messages` gives its key to the broker, which remembers it for a day, whatever is killed. For every other
post the dashboard keeps the answer in `dashboard.sqlite` for as long: `Remembered` stores what `claim` let through. One
whose answer is not there (the dashboard ended while it was done, or nobody answered in time) is refused, since nobody
knows whether it was done; answers that hold a secret are not kept.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hive_contracts.errors import KeyReused, Refused
from hive_dashboard.errors import InvalidRequest
from hive_dashboard.store_answers import Answers

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "idempotency-replayed"
MAX_KEY: Final = 100
KEPT_BELOW: Final = HTTPStatus.INTERNAL_SERVER_ERROR
NOTHING_DONE: Final = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)
"""After these the same key may be tried again."""

BROKERS: Final = "/api/v1/messages"
SECRET: Final = frozenset({"/api/v1/tokens", "/api/v1/sign-in-links"})

_KEY: Final = re.compile(r"[\x21-\x7e]{1,100}\Z")
_STATE: Final = "idempotency"


class OutcomeUnknown(Refused):
    code = "outcome_unknown"


class Replay(Exception):
    """`response` was given to the same request before."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered before")
        self.response = response


@dataclass(slots=True)
class Slot:
    """A request whose answer is to be kept."""

    key: bytes
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


def check_key(key: str) -> str:
    """A client's own key. Raises `InvalidRequest`."""
    if not _KEY.match(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 100 visible ASCII characters; make a new one for each send")
    return key


def key_of(nonce: str, *content: str) -> str | None:
    """The key of a form: its nonce and what was written into it; None for a form without a nonce.

    A form that the browser kept (back button) and that is sent again with another text is another message.
    """
    if not nonce:
        return None
    digest = hashlib.blake2b("\0".join((nonce, *content)).encode("utf-8", "replace"), digest_size=16)
    return f"form-{digest.hexdigest()}"


async def claim(request: Request, answers: Answers, *, who: str) -> None:
    """Before a post is done. Raises `Replay`, `KeyReused`, `OutcomeUnknown` and `InvalidRequest`."""
    given = request.headers.get(HEADER)
    if given is None or request.method != "POST" or request.url.path == BROKERS:
        return
    path = request.url.path
    key = _hash(who, path, check_key(given))
    known = answers.begin(key, _hash(str(request.url.query), await request.body()))
    if known is None:
        request.scope.setdefault("state", {})[_STATE] = Slot(key)
        return
    if not known.same:
        raise KeyReused("this Idempotency-Key was used for another request; make a new one for each thing to be done")
    if known.status is None:
        raise OutcomeUnknown(
            "this was begun before, and its answer is not known: it is under way, or was when the dashboard ended; "
            "look whether it is done, and use a new key if it is not"
        )
    if path in SECRET and known.status < HTTPStatus.BAD_REQUEST:
        raise OutcomeUnknown(
            "this was done before; its answer held a secret and is not kept: use a new key for another"
        )
    media = "application/json" if known.status < HTTPStatus.BAD_REQUEST else "application/problem+json"
    raise Replay(Response(known.body, known.status, {REPLAYED: "true"}, media_type=media))


class Remembered:
    """ASGI middleware: keeps the answers to requests that `claim` let through."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        find: Callable[[], Slot | None] = lambda: scope.get("state", {}).get(_STATE)  # noqa: E731 - set on the way

        async def watched(message: Message) -> None:
            if slot := find():
                if message["type"] == "http.response.start":
                    slot.status = message["status"]
                elif message["type"] == "http.response.body":
                    slot.body += message.get("body", b"")
                    if not message.get("more_body"):
                        self._keep(slot, secret=scope["path"] in SECRET)
            await send(message)

        await self._app(scope, receive, watched)

    def _keep(self, slot: Slot, *, secret: bool) -> None:
        """Before the answer leaves, so that whoever has it is sure that it is kept."""
        if slot.status in NOTHING_DONE:
            self._answers.forget(slot.key)
        elif slot.status < KEPT_BELOW:
            self._answers.keep(slot.key, slot.status, b"" if secret else bytes(slot.body))


def _hash(*parts: str | bytes) -> bytes:
    joined = b"\0".join(part.encode("utf-8", "replace") if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(joined).digest()
