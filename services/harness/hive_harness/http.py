"""The harness's HTTP endpoint on loopback: POST /mcp for the engine, GET /api/state.

Only who knows the token of this start gets an answer, and only under a loopback name: a web page in some browser on
this machine must not reach it by rebinding a name of its own.
"""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hive_harness.status import StatusKeeper
from hive_harness.tools import Toolbox

if TYPE_CHECKING:
    from hive_harness.mcp import McpServer

HOST: Final = "127.0.0.1"
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
TOKEN_BYTES: Final = 32
BEAT_S: Final = 15.0
"""An answer that takes longer is sent as a stream with a sign of life so often: Claude Code's HTTP client drops a
connection that has been silent for 300 s, whatever it is told, and a person may take longer."""


class Endpoint:
    """Listens from its making, so that the address is known before `serve` runs."""

    def __init__(self, toolbox: Toolbox, status: StatusKeeper) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._toolbox = toolbox
        self._status = status
        self._socket = socket.create_server((HOST, 0))
        routes = [
            Route("/mcp", self._post_mcp, methods=["POST"]),
            Route("/api/state", self._get_state, methods=["GET"]),
        ]
        self._app = _Guard(Starlette(routes=routes), self.token)

    @cached_property
    def _mcp(self) -> "McpServer":
        """Made at the engine's first call: loading the wire types then costs no start anything."""
        from hive_harness.mcp import McpServer  # noqa: PLC0415

        return McpServer(self._toolbox)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    async def serve(self) -> None:
        """Until cancelled."""
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        server = _Server(config)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            server.close_all()
            self.close()

    def close(self) -> None:
        self._socket.close()

    async def _post_mcp(self, request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"detail": f"the body is over {MAX_BODY_BYTES} bytes"}, status_code=413)
        try:
            document = _decode(body)
        except (ValueError, RecursionError):
            return JSONResponse({"detail": "the body is not JSON"}, status_code=400)
        answering = asyncio.ensure_future(self._mcp.answer(document))
        try:
            await asyncio.wait({answering}, timeout=BEAT_S)
        except asyncio.CancelledError:
            answering.cancel()
            raise
        if not answering.done():
            return StreamingResponse(_beating(answering), media_type="text/event-stream")
        answer = answering.result()
        if answer is None:
            return Response(status_code=202)
        return JSONResponse(answer, status_code=200 if answer["id"] is not None else 400)

    async def _get_state(self, request: Request) -> Response:
        await self._status.count_unread()
        return Response(self._status.state.model_dump_json(), media_type="application/json")


class _Guard:
    """Refuses requests under a foreign name (403) and without the token (401)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(dict(scope["headers"]))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        origin = headers.get(b"origin")
        if not _is_loopback(headers.get(b"host", b"")) or (origin and not _is_loopback(_host_of(origin))):
            return JSONResponse({"detail": "only loopback names are served"}, status_code=403)
        if not secrets.compare_digest(headers.get(b"authorization", b""), self._expected):
            return JSONResponse(
                {"detail": "a bearer token is needed"}, status_code=401, headers={"WWW-Authenticate": "Bearer"}
            )
        return None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the run loop."""
        yield

    def close_all(self) -> None:
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


async def _beating(answering: asyncio.Future[dict[str, Any] | None]) -> AsyncIterator[bytes]:
    """Server-sent events: comments until there is an answer, then the answer. Who hangs up calls the work off."""
    try:
        while not answering.done():
            yield b": still at it\n\n"
            await asyncio.wait({answering}, timeout=BEAT_S)
        yield b"event: message\ndata: " + json.dumps(answering.result()).encode() + b"\n\n"
    finally:
        answering.cancel()


async def _body(request: Request) -> bytes | None:
    """None when it is too long."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            return None
    return bytes(received)


def _decode(body: bytes) -> Any:
    """JSON, with `?` for each half of a surrogate pair, which JSON can spell and nothing can store.

    Raises `ValueError` or `RecursionError`.
    """
    document = json.loads(body)
    return json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def _host_of(origin: bytes) -> bytes:
    return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1")


def _is_loopback(host: bytes) -> bool:
    name, colon, port = host.decode("latin-1").rpartition(":")
    return (name if colon and port.isdigit() else host.decode("latin-1")).lower() in LOOPBACK_NAMES
