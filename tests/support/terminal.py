"""The operator's terminal without a browser: a signed-in WebSocket, as the page opens one.

As a program, for a hive that can only be reached from inside its host: DATA_DIR ADDRESS AGENT LINE SEES.
"""

import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tests.support.hive import Hive
from websockets.sync.client import connect
from websockets.typing import Origin

WITHIN_S = 40.0


def typed(running: Hive, agent: str, line: str, *, sees: str) -> str:
    """Turn the terminal of `agent` on, type `line` into it; what it shows once it shows `sees`."""
    return typed_at(running.address, running.data_dir, agent, line, sees=sees)


def typed_at(address: str, data_dir: Path, agent: str, line: str, *, sees: str) -> str:
    """The same, of a hive that has its data there."""
    token = (data_dir / "secrets" / "api-token").read_text().strip()
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=30) as api:
        api.put(f"/api/v1/agents/{agent}/terminal", json={"on": True}).raise_for_status()
        link = api.post("/api/v1/sign-in-links").raise_for_status().json()["url"]
    with httpx.Client(base_url=address) as browser:
        browser.get(link)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    socket_address = f"ws://{urlsplit(address).netloc}/agents/{agent}/terminal/socket"
    shown = ""
    with connect(socket_address, origin=Origin(address), additional_headers={"Cookie": cookies}) as socket:
        socket.send(json.dumps({"columns": 200, "lines": 40}))
        end = time.monotonic() + WITHIN_S
        first = socket.recv(timeout=WITHIN_S)
        assert isinstance(first, str), first
        assert "joined" in json.loads(first), first
        socket.send(f"{line}\r".encode())
        while sees not in shown:
            data = socket.recv(timeout=max(0.0, end - time.monotonic()))
            assert isinstance(data, bytes), data
            shown += data.decode("utf-8", "replace")
    return shown


if __name__ == "__main__":
    data_dir, address, agent, line, sees = sys.argv[1:]
    sys.stdout.write(typed_at(address, Path(data_dir), agent, line, sees=sees))
