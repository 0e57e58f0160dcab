"""The MCP server `hyperhive`: JSON-RPC in, JSON-RPC out, without a session (streamable HTTP, stateless JSON form).

Written out here because the SDK's server costs 60 MB, and even its wire types alone 5 MB and 0.2 s at each start. The
SDK's client drives this in the tests, and its types check every answer.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError

from hive_harness.tools import Toolbox
from hive_runtime import VERSION

SERVER_NAME: Final = "hyperhive"
PROTOCOL_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions with the `initialize` handshake, oldest first; the newest is offered to a client of another one."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602

INSTRUCTIONS: Final = "Messages between you, the other agents of this hive and its operator."


class Call(BaseModel):
    """A request, or without an id a notification."""

    jsonrpc: Literal["2.0"]
    method: str
    id: Annotated[int | str | None, Field(union_mode="left_to_right")] = None
    params: dict[str, Any] = Field(default_factory=dict)


class ToolCall(BaseModel):
    name: str
    arguments: dict[str, Any] | None = None


class McpServer:
    """`answer` takes one decoded body and returns the response; None where the protocol wants none."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    async def answer(self, document: Any) -> dict[str, Any] | None:
        if isinstance(document, dict) and "method" not in document and "id" in document:
            return None  # a response; nothing was asked
        try:
            call = Call.model_validate(document)
        except ValidationError:
            return error_response(_id_of(document), INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        if call.id is None:
            return None
        return await self._answer(call, call.id)

    async def _answer(self, call: Call, identity: int | str) -> dict[str, Any]:
        match call.method:
            case "initialize":
                return _response(identity, _initialize(call.params))
            case "ping":
                return _response(identity, {})
            case "tools/list":
                return _response(identity, {"tools": self._list()})
            case "tools/call":
                return await self._call_tool(identity, call.params)
            case _:
                return error_response(identity, METHOD_NOT_FOUND, f"no method {call.method[:100]!r}")

    def _list(self) -> list[dict[str, Any]]:
        return [
            {"name": tool.name, "description": tool.description, "inputSchema": tool.schema()}
            for tool in self._toolbox.tools.values()
        ]

    async def _call_tool(self, identity: int | str, params: Mapping[str, Any]) -> dict[str, Any]:
        try:
            wanted = ToolCall.model_validate(params)
            answer = await self._toolbox.call(wanted.name, wanted.arguments or {})
        except ValidationError:
            return error_response(identity, INVALID_PARAMS, "tools/call needs a name, and arguments as an object")
        except KeyError:
            known = ", ".join(self._toolbox.tools)
            return error_response(identity, INVALID_PARAMS, f"no such tool; there are {known}")
        content = [{"type": "text", "text": text} for text in answer.texts]
        return _response(identity, {"content": content, "isError": answer.is_error})


def _initialize(params: Mapping[str, Any]) -> dict[str, Any]:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[-1],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": SERVER_NAME, "version": VERSION},
        "instructions": INSTRUCTIONS,
    }


def _response(identity: int | str, result: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "result": result}


def error_response(identity: int | str | None, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def _id_of(document: Any) -> int | str | None:
    identity = document.get("id") if isinstance(document, dict) else None
    return identity if isinstance(identity, int | str) else None
