"""The MCP endpoint, driven by the SDK's own client, and what it refuses."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InitializeResult, ListToolsResult, TextContent
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running

from hive_contracts.agents import AgentState
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside, Harness], Awaitable[None]]


def play(directory: Path, story: Story, **settings: float) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config_for(directory, **settings), bus) as harness:
            await world.until(of_type("state.changed"))
            await story(world, harness)

    asyncio.run(main())


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP, where a client would still read all of the machine's certificates at its start."""


@asynccontextmanager
async def client_of(harness: Harness, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {harness.endpoint.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, verify=PLAIN) as http,
        Client(streamable_http_client(f"{harness.endpoint.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def in_a_turn(world: Outside) -> AsyncIterator[str]:
    """A turn that lasts as long as the block; its head's id."""
    head = await world.deliver("!call whoami\n!hang")
    await world.until(of_type("turn.tool_call"))
    yield head


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdks_client_finds_and_calls_the_tools(tmp_path: Path, mode: str) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with client_of(harness, mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            threads = {"ask_operator", "ask", "answer", "remind", "open_threads", "cancel_thread"}
            assert set(tools) >= {"recv", "send", "whoami", "nap", "permission"} | threads
            assert tools["send"].input_schema["required"] == ["to", "body"]
            assert json.loads(text_of(await client.call_tool("whoami", {})))["name"] == AGENT

    play(tmp_path, story)


def test_send_in_a_turn_says_which_message_it_made(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with client_of(harness) as client, in_a_turn(world) as head:
            result = await client.call_tool("send", {"to": "bob", "body": "hello", "in_reply_to": head})
            assert not result.is_error
            assert text_of(result).startswith("sent m-")
            assert (world.sent[0].in_reply_to, world.sent[0].cause) == (head, head)

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("send", {"to": "bob"}, "body: Field required"),
        ("send", {"to": "bob", "body": 3}, "body: Input should be a valid string"),
        ("send", {"to": "bob", "body": "x", "loud": True}, "loud: Extra inputs are not permitted"),
        ("send", {"to": "Bob!", "body": "x"}, "'Bob!' is not an agent name"),
        ("send", {"to": "all", "body": "x"}, "'all' is reserved"),
        ("send", {"to": AGENT, "body": "x"}, "cannot send to yourself"),
        ("send", {"to": "bob", "body": " \n"}, "the body is empty"),
        ("send", {"to": "bob", "body": "x" * 4097}, "the limit is 4096"),
        ("recv", {"wait_seconds": 181}, "wait_seconds: Input should be less than or equal to 180"),
        ("recv", {"max": 0}, "max: Input should be greater than or equal to 1"),
    ],
)
def test_bad_arguments_are_a_tool_error_that_asks_for_others(
    tmp_path: Path, tool: str, arguments: dict[str, Any], told: str
) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with in_a_turn(world):
            result = (await call(harness, tool, arguments))["result"]
            assert result["isError"]
            assert told in result["content"][0]["text"]
            assert result["content"][0]["text"].endswith("Try again with other arguments.")
            assert world.sent == []

    play(tmp_path, story)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with in_a_turn(world):
            answer = await call(harness, "send", {"to": "bob", "body": "half \ud800 pair"})
            assert not answer["result"]["isError"]
            assert world.sent[0].body == "half ? pair"
            assert "error" in await call(harness, "\ud800", {})

    play(tmp_path, story)


def test_tools_of_a_turn_are_politely_refused_between_turns(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with client_of(harness) as client:
            for tool, arguments in (("recv", {}), ("send", {"to": "bob", "body": "x"})):
                result = await client.call_tool(tool, arguments)
                assert result.is_error
                assert "there is no turn now" in text_of(result)

    play(tmp_path, story)


def test_a_send_that_the_broker_does_not_confirm_is_stored_and_says_so(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        world.silent = True
        async with client_of(harness) as client, in_a_turn(world):
            result = await client.call_tool("send", {"to": "bob", "body": "hello"})
            assert not result.is_error
            assert "will deliver it by itself" in text_of(result)
            assert [send.body for send in world.sent] == ["hello"]

    play(tmp_path, story, send_wait_s=0.2)


def test_an_unknown_tool_or_method_is_a_protocol_error(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with client_of(harness) as client:
            with pytest.raises(MCPError, match="no such tool"):
                await client.call_tool("launch", {})
        assert (await post(harness, {"jsonrpc": "2.0", "id": 1, "method": "x/y"})).json()["error"]["code"] == -32601

    play(tmp_path, story)


def test_answers_are_of_the_sdks_wire_types(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        client = {"name": "t", "version": "1"}
        for version in HANDSHAKE_PROTOCOL_VERSIONS:
            params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
            result = await request(harness, "initialize", params)
            assert InitializeResult.model_validate(result).protocol_version == version
        odd = await request(harness, "initialize", {"protocolVersion": "1999-01-01"})
        assert odd["protocolVersion"] == LATEST_HANDSHAKE_VERSION
        assert await request(harness, "ping", {}) == {}
        ListToolsResult.model_validate(await request(harness, "tools/list", {}))
        CallToolResult.model_validate(await request(harness, "tools/call", {"name": "whoami"}))

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 200),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', 400),
        (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', 202),
        (b'{"jsonrpc":"2.0","id":7,"result":{}}', 202),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":[]}}', 200),
        (b"x" * (4 * 1024 * 1024 + 1), 413),
    ],
)
def test_what_is_not_a_request_gets_an_answer_all_the_same(tmp_path: Path, body: bytes, status: int) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        assert (await post(harness, body)).status_code == status

    play(tmp_path, story)


def test_only_the_token_and_a_loopback_name_open_the_endpoint(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await post(harness, ping)).status_code == 200
        assert (await post(harness, ping, Authorization="Bearer wrong")).status_code == 401
        assert (await post(harness, ping, Authorization="")).status_code == 401
        assert (await post(harness, ping, Host="evil.example")).status_code == 403
        assert (await post(harness, ping, Host="127.0.0.1.evil.example:80")).status_code == 403
        assert (await post(harness, ping, Origin="http://evil.example")).status_code == 403
        assert (await post(harness, ping, Host="localhost:1", Origin="http://localhost:1")).status_code == 200

    play(tmp_path, story)


def test_the_endpoint_listens_for_posts_only_and_serves_the_state(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        async with httpx.AsyncClient(base_url=harness.endpoint.url, headers=headers_of(harness), verify=PLAIN) as http:
            assert (await http.get("/mcp")).status_code == 405
            assert (await http.delete("/mcp")).status_code == 405
            state = AgentState.model_validate_json((await http.get("/api/state")).content)
            assert (state.agent, state.engine) == (AGENT, "scripted")

    play(tmp_path, story)


def test_the_file_with_the_token_is_for_this_user_only_and_goes_at_the_end(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        path = tmp_path / "run" / "mcp.json"
        assert harness.endpoint.token in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700

    play(tmp_path, story)
    assert not (tmp_path / "run").exists()


def headers_of(harness: Harness) -> dict[str, str]:
    return {"Authorization": f"Bearer {harness.endpoint.token}"}


async def post(harness: Harness, document: Any, **headers: str) -> httpx.Response:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    async with httpx.AsyncClient(verify=PLAIN) as http:
        url = f"{harness.endpoint.url}/mcp"
        return await http.post(url, content=content, headers=headers_of(harness) | headers)


async def request(harness: Harness, method: str, params: dict[str, Any]) -> dict[str, Any]:
    response = await post(harness, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    result: dict[str, Any] = response.json()["result"]
    return result


async def call(harness: Harness, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    response = await post(harness, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    answer: dict[str, Any] = response.json()
    return answer
