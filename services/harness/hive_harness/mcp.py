"""The MCP server `hyperhive`: JSON-RPC in, JSON-RPC out, without a session (streamable HTTP, stateless JSON form).

The wire types are the SDK's own (`mcp_types`); its server is not imported, because that costs 60 MB in each container.
The SDK's client drives this in the tests.
"""

from typing import Any, Final

from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ErrorData,
    Implementation,
    InitializeResult,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    ListToolsResult,
    Result,
    ServerCapabilities,
    TextContent,
    Tool,
    ToolsCapability,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from pydantic import TypeAdapter, ValidationError

from hive_harness.tools import Toolbox
from hive_runtime import VERSION

SERVER_NAME: Final = "hyperhive"
INSTRUCTIONS: Final = "Messages between you, the other agents of this hive and its operator."

_MESSAGE: Final = TypeAdapter[JSONRPCMessage](JSONRPCMessage)


class McpServer:
    """`answer` takes one decoded body and returns the response; None where the protocol wants none."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    async def answer(self, document: Any) -> dict[str, Any] | None:
        try:
            message = _MESSAGE.validate_python(document)
        except ValidationError:
            return _error(_id_of(document), INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        if isinstance(message, JSONRPCRequest):
            return await self._answer(message)
        if isinstance(message, JSONRPCNotification) and "id" in document:
            return _error(None, INVALID_REQUEST, "an id is a number or a text")
        return None

    async def _answer(self, request: JSONRPCRequest) -> dict[str, Any]:
        match request.method:
            case "initialize":
                return _response(request, _initialize(request.params or {}))
            case "ping":
                return _response(request, EmptyResult())
            case "tools/list":
                return _response(request, ListToolsResult(tools=self._list()))
            case "tools/call":
                return await self._call_tool(request)
            case _:
                return _error(request.id, METHOD_NOT_FOUND, f"no method {request.method[:100]!r}")

    def _list(self) -> list[Tool]:
        return [
            Tool(name=tool.name, description=tool.description, input_schema=tool.schema())
            for tool in self._toolbox.tools.values()
        ]

    async def _call_tool(self, request: JSONRPCRequest) -> dict[str, Any]:
        try:
            wanted = CallToolRequestParams.model_validate(request.params or {})
            answer = await self._toolbox.call(wanted.name, wanted.arguments or {})
        except ValidationError:
            return _error(request.id, INVALID_PARAMS, "tools/call needs a name, and arguments as an object")
        except KeyError:
            known = ", ".join(self._toolbox.tools)
            return _error(request.id, INVALID_PARAMS, f"no such tool; there are {known}")
        content = [TextContent(type="text", text=text) for text in answer.texts]
        return _response(request, CallToolResult(content=[*content], is_error=answer.is_error))


def _initialize(params: dict[str, Any]) -> InitializeResult:
    wanted = params.get("protocolVersion")
    return InitializeResult(
        protocol_version=wanted if wanted in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION,
        capabilities=ServerCapabilities(tools=ToolsCapability(list_changed=False)),
        server_info=Implementation(name=SERVER_NAME, version=VERSION),
        instructions=INSTRUCTIONS,
    )


def _response(request: JSONRPCRequest, result: Result) -> dict[str, Any]:
    body = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=body).model_dump(mode="json")


def _error(identity: int | str | None, code: int, message: str) -> dict[str, Any]:
    error = JSONRPCError(jsonrpc="2.0", id=identity, error=ErrorData(code=code, message=message))
    return error.model_dump(mode="json", exclude_none=True) | {"id": identity}


def _id_of(document: Any) -> int | str | None:
    identity = document.get("id") if isinstance(document, dict) else None
    return identity if isinstance(identity, int | str) else None
