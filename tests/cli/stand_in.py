"""A service for the launcher's tests: run by path, `stand_in.py NAME MODE`. Real processes, real HTTP, no hyperhive.

It leaves its pid in <data>/run/NAME.pid. As `dashboard` it serves just enough of the API for `hive up` to get ready.
Modes: `good`; `stubborn` ignores SIGTERM; `settings` ends with EX_CONFIG; `broken` ends at once.
"""

import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RUN = Path(os.environ["HIVE_DATA_DIR"]) / "run"
NAMES = ("broker", "supervisor", "dashboard")
STARTED = datetime.now(UTC).isoformat()


def main() -> int:
    name, mode = sys.argv[1:3]
    if mode == "settings":
        sys.stderr.write(
            json.dumps({"event": "cannot go on", "reason": "hive.toml:3: broker.rate: not a number"}) + "\n"
        )
        return 78
    if mode == "broken":
        sys.stderr.write("it is broken\n")
        return 1
    done = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else lambda *_: done.set())
    environment = {key: value for key, value in os.environ.items() if key.startswith(("HIVE_", "ANTHROPIC_"))}
    (RUN / f"{name}.env").write_text(json.dumps(environment))
    (RUN / f"{name}.pid").write_text(str(os.getpid()))
    if name == "dashboard":
        server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["HIVE_DASHBOARD_PORT"])), Dashboard)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while not done.wait(1):
        pass
    return 0


class Dashboard(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/api/v1/status":
            self.answer(200, {"services": [beat for beat in map(service, NAMES) if beat]})
        elif self.path == "/api/v1/agents":
            self.answer(200, {"agents": [manager()]})
        elif self.path == "/api/v1/agents/hm1nd":
            self.answer(200, manager())
        else:
            self.answer(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with (RUN / "posts.jsonl").open("a") as file:
            file.write(json.dumps({"path": self.path, "body": json.loads(body)}) + "\n")
        url = f"http://{self.headers['Host']}/sign-in?token=once"
        self.answer(201, {"url": url, "id": "m-1", "state": "accepted", "note": ""})

    def answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def service(name: str) -> dict[str, Any] | None:
    try:
        return {"service": name, "pid": int((RUN / f"{name}.pid").read_text()), "alive": True}
    except (OSError, ValueError):
        return None


def manager() -> dict[str, Any]:
    state = {"state": "idle", "since": STARTED, "detail": ""}
    return {"name": "hm1nd", "container": "running", "detail": "", "state": state}


if __name__ == "__main__":
    sys.exit(main())
