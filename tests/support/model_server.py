"""A scripted Messages-API server on loopback: what real Claude Code talks to in tests, instead of a model.

The script is a function from a request to a reply, so that one server can serve several agents at once. Every request
is kept with the time it came, for assertions and for the benches.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ToolUse:
    name: str
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says and calls. With `tools` the client comes back with their results."""

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    input_tokens: int = 100
    output_tokens: int = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error in the Messages API's shape. `resets_at`: when the provider's limit ends, in seconds since 1970."""

    status: int
    kind: str
    message: str = "scripted failure"
    resets_at: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of the Messages API. `at` is `time.monotonic()` when it arrived."""

    body: dict[str, Any]
    at: float

    @property
    def texts(self) -> list[str]:
        """Every text and tool result of the conversation, oldest first."""
        return [text for message in self.body.get("messages", ()) for text in _texts(message.get("content"))]

    @property
    def last(self) -> str:
        """The newest message's texts, joined."""
        return "\n".join(_texts(self.body["messages"][-1].get("content")))

    @property
    def system(self) -> str:
        return "\n".join(_texts(self.body.get("system")))

    @property
    def tools(self) -> list[str]:
        return [tool.get("name", "") for tool in self.body.get("tools", ())]

    @property
    def results(self) -> list[str]:
        """Texts of the tool results in the newest message; empty when it holds none."""
        content = self.body["messages"][-1].get("content")
        blocks = content if isinstance(content, list) else []
        return [text for block in blocks if block.get("type") == "tool_result" for text in _texts([block])]


Script = Callable[[ModelRequest], Reply | Failure]


def say_done(request: ModelRequest) -> Reply:
    return Reply("done")


class ModelServer:
    """Serves in threads of its own from `start` (or `with`) until `stop`. `keys`: what clients signed in with."""

    def __init__(self, script: Script = say_done) -> None:
        self.script = script
        self.requests: list[ModelRequest] = []
        self.keys: set[str] = set()
        self._came = threading.Condition()
        self._ids = itertools.count(1)
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.model = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def credentials(self) -> dict[str, str]:
        """Environment that makes a harness's engine use this server and no other."""
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": "test-key"}

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(STOP_TIMEOUT_S)

    def wait_for(self, count: int, *, timeout_s: float = 30.0) -> list[ModelRequest]:
        """All requests so far, once there are `count`. Raises `TimeoutError`."""
        with self._came:
            if not self._came.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"the model server has had {len(self.requests)} requests, not {count}")
            return list(self.requests)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, body: dict[str, Any]) -> tuple[str, Reply | Failure]:
        """Keep the request and ask the script; the id of the answer, and the answer."""
        request = ModelRequest(body, time.monotonic())
        with self._came:
            self.requests.append(request)
            self._came.notify_all()
        return f"{next(self._ids):06d}", self.script(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    model: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._json(200, {"input_tokens": 100})
        elif path.endswith("/v1/messages"):
            self._messages(body)
        else:
            self._json(404, _error("not_found_error", f"no {path}"))

    def do_GET(self) -> None:
        self._json(404, _error("not_found_error", f"no {self.path}"))

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _messages(self, body: dict[str, Any]) -> None:
        key = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.model.keys.add(key)
        identity, reply = self.server.model.answer(body)
        if isinstance(reply, Failure):
            self._json(reply.status, _error(reply.kind, reply.message), _limits(reply))
        elif body.get("stream"):
            self._stream(identity, str(body.get("model", "")), reply)
        else:
            self._json(200, _message(identity, str(body.get("model", "")), reply))

    def _json(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        if status == 429:
            self.send_header("retry-after", "1")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, identity: str, model: str, reply: Reply) -> None:
        payload = "".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in _events(identity, model, reply)
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    found = []
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "text":
            found.append(str(block.get("text", "")))
        elif block.get("type") == "tool_result":
            found.extend(_texts(block.get("content")))
    return found


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _limits(failure: Failure) -> dict[str, str]:
    """What the API tells those who use a subscription."""
    if not failure.resets_at:
        return {}
    told = {"status": "rejected", "reset": str(failure.resets_at), "representative-claim": "five_hour"}
    return {f"anthropic-ratelimit-unified-{name}": value for name, value in told.items()}


def _blocks(identity: str, reply: Reply) -> list[dict[str, Any]]:
    text: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text or not reply.tools else []
    calls = [
        {"type": "tool_use", "id": f"toolu_{identity}_{number}", "name": tool.name, "input": tool.input}
        for number, tool in enumerate(reply.tools)
    ]
    return text + calls


def _message(identity: str, model: str, reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{identity}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _blocks(identity, reply),
        "stop_reason": "tool_use" if reply.tools else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
    }


def _events(identity: str, model: str, reply: Reply) -> Iterator[dict[str, Any]]:
    whole = _message(identity, model, reply)
    usage = {"input_tokens": reply.input_tokens, "output_tokens": 1}
    yield {"type": "message_start", "message": whole | {"content": [], "stop_reason": None, "usage": usage}}
    for index, block in enumerate(whole["content"]):
        start, delta = _opening(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": reply.output_tokens},
    }
    yield {"type": "message_stop"}


def _opening(block: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if block["type"] == "text":
        return block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
    return block | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
