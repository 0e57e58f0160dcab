"""What holds for every request, whatever it asks for: the Host allow-list, the Origin of posts, size, headers.

A page of another site must not reach the dashboard: not by a name that it points at this machine (DNS rebinding: Host),
not by a form of its own (Origin, SameSite and CSRF), not in a frame.
"""

from collections.abc import Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hive_dashboard.problems import is_for_programs, problem

MAX_REQUEST_BYTES: Final = 64 * 1024
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - named in order to leave them out

POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; img-src 'self' data:"
)
POLICY_VIOLATION: Final = 1008
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not `no-referrer`: with that, browsers send `Origin: null` with our own forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around the whole application. `hosts` are names without ports, besides the loopback ones."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK_NAMES | {host.lower().strip("[]") for host in hosts} - WILDCARDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._is_own_socket(Headers(scope=scope)):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        answer: ASGIApp = self._app
        if refusal:
            status, reason = refusal
            answer = _told(scope["path"], status, reason)
        await answer(scope, receive, send_with_headers)

    def _is_own_socket(self, headers: Headers) -> bool:
        """Browsers let any site open one, with our cookies: only `Origin` tells whose it is, and all send it."""
        host = headers.get("host", "")
        return _name_of(host) in self._hosts and "origin" in headers and _is_own_origin(headers, host)

    def _refusal(self, method: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
        host = headers.get("host", "")
        if _name_of(host) not in self._hosts:
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                "This name is not one of the dashboard's; add it to allowed_hosts in [dashboard] of hive.toml.",
            )
        if method in SAFE_METHODS:
            return None
        if not _is_own_origin(headers, host):
            return HTTPStatus.FORBIDDEN, "This request comes from another site; open the dashboard itself."
        return _size_refusal(headers)


def _told(path: str, status: HTTPStatus, reason: str) -> Response:
    """Without a page: who asks may be a stranger, and a stranger is told nothing but this."""
    if is_for_programs(path):
        return problem(status, status.phrase.lower().replace(" ", "_"), reason)
    return PlainTextResponse(f"{reason}\n", status_code=status)


def _size_refusal(headers: Headers) -> tuple[HTTPStatus, str] | None:
    if "transfer-encoding" in headers:
        return HTTPStatus.LENGTH_REQUIRED, "Send the body with a Content-Length."
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is longer than {MAX_REQUEST_BYTES} bytes."
    return None


def _is_own_origin(headers: Headers, host: str) -> bool:
    """Browsers send `Origin` with every post; what sends none is no browser, and is held by token or CSRF alone."""
    origin = headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin) if origin.isascii() else None
        return parts is not None and parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()
    return headers.get("sec-fetch-site", "none") in {"none", "same-origin"}


def _name_of(host: str) -> str | None:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
