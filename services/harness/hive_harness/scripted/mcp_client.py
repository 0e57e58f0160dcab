"""As much of an MCP client as the scripted engine needs: streamable HTTP, one call at a time."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

SERVER: Final = "hyperhive"
PROTOCOL_VERSION: Final = "2025-11-25"
TIMEOUT_S: Final = 240.0
EVENTS: Final = "text/event-stream"


@dataclass(frozen=True)
class Answer:
    text: str
    is_error: bool


class McpClient:
    """Speaks to the server `hyperhive` of an `--mcp-config` file. Raises `OSError` when it does not answer."""

    def __init__(self, config: Path) -> None:
        server = json.loads(config.read_text())["mcpServers"][SERVER]
        url = urlsplit(server["url"])
        self._address = (url.hostname or "", url.port or 80)
        self._path = url.path
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **server.get("headers", {}),
        }
        self._last_id = 0

    def connect(self) -> None:
        client = {"name": "hyperhive-scripted", "version": "1"}
        params = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        self._request("initialize", params)
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self._request("tools/list", {})["result"]["tools"]]

    def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        answer = self._request("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            return Answer(str(answer["error"].get("message")), is_error=True)
        result = answer["result"]
        text = "\n".join(part.get("text", "") for part in result.get("content", ()))
        return Answer(text, is_error=result.get("isError") is True)

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        answer = self._post({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        if not isinstance(answer, dict):
            raise OSError(f"the MCP server's answer to {method} is not an object")
        return answer

    def _post(self, document: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._path, json.dumps(document), self._headers)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"the MCP server does not speak HTTP: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise OSError(f"the MCP server answered {response.status}: {body[:200].decode('utf-8', 'replace')}")
        if response.getheader("Content-Type", "").startswith(EVENTS):
            body = _event(body)
        return json.loads(body) if body else None


def _event(stream: bytes) -> bytes:
    """The data of the one event that a late answer comes in, after comments."""
    return next((line.removeprefix(b"data: ") for line in stream.splitlines() if line.startswith(b"data: ")), b"null")
