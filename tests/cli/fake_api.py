"""A real HTTP server that answers as the dashboard's API does, and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "secret-token"


@dataclass
class FakeApi:
    """`answers`: method and path without query → status and JSON. `waits`: which are given only once this is set, and
    `tells` what is set once they were given."""

    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    waits: dict[tuple[str, str], threading.Event] = field(default_factory=dict)
    tells: dict[tuple[str, str], threading.Event] = field(default_factory=dict)

    def problem(self, method: str, path: str, status: int, detail: str) -> None:
        self.answers[method, path] = (status, {"status": status, "code": "x", "title": "x", "detail": detail})


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.respond("GET", None)

        def do_POST(self) -> None:
            self.respond("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_PUT(self) -> None:
            self.respond("PUT", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_DELETE(self) -> None:
            self.respond("DELETE", None)

        def respond(self, method: str, body: Any) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            api.asked.append({"method": method, "path": self.path, "body": body, "headers": headers})
            if headers.get("authorization") != f"Bearer {TOKEN}":
                status, value = 401, {"detail": "the token is wrong; sign in again"}
            else:
                missing = (404, {"detail": f"nothing is at {self.path}"})
                status, value = api.answers.get((method, self.path.partition("?")[0]), missing)
            key = (method, self.path.partition("?")[0])
            if key in api.waits:
                api.waits[key].wait(30)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            if key in api.tells:
                api.tells[key].set()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def fake_api(data: Path) -> Iterator[FakeApi]:
    """A server that the command line finds through the data directory `data`."""
    api = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    (data / "run").mkdir(parents=True)
    (data / "secrets").mkdir()
    (data / "run" / "hive.json").write_text(json.dumps({"address": f"http://127.0.0.1:{server.server_port}"}))
    (data / "secrets" / "api-token").write_text(TOKEN)
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
