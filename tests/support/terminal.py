"""The operator's terminal without a browser: a signed-in WebSocket, as the page opens one."""

import json
import time
from urllib.parse import urlsplit

import httpx
from tests.support.hive import Hive
from websockets.sync.client import connect
from websockets.typing import Origin

WITHIN_S = 40.0


def typed(running: Hive, agent: str, line: str, *, sees: str) -> str:
    """Turn the terminal of `agent` on, type `line` into it; what it shows once it shows `sees`."""
    running.api("PUT", f"/agents/{agent}/terminal", json={"on": True})
    with httpx.Client(base_url=running.address) as browser:
        browser.get(running.sign_in_link())
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    address = f"ws://{urlsplit(running.address).netloc}/agents/{agent}/terminal/socket"
    shown = ""
    origin = Origin(running.address)
    with connect(address, origin=origin, additional_headers={"Cookie": cookies}) as socket:
        socket.send(json.dumps({"columns": 200, "lines": 40}))
        socket.send(f"{line}\r".encode())
        end = time.monotonic() + WITHIN_S
        while sees not in shown:
            data = socket.recv(timeout=max(0.0, end - time.monotonic()))
            assert isinstance(data, bytes), data
            shown += data.decode("utf-8", "replace")
    return shown
