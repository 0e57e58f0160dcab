"""With the real Claude Code: a model switched in mid-turn, and an MCP server that does not work."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, outside, running
from tests.support.model_server import ModelRequest, ModelServer, Reply, ToolUse
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import Engine
from hive_contracts.envelope import Envelope
from hive_contracts.models import Effort, McpServer, ModelChanged
from hive_contracts.turns import TurnNote, TurnToolResult
from hive_harness.config import HarnessConfig
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]

ECHO_SERVER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    tool = {"name": "shout", "description": "shouts", "inputSchema": {"type": "object"}}
    answers = {
        "initialize": lambda: {"protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                               "serverInfo": {"name": "x", "version": "1"}},
        "tools/list": lambda: {"tools": [tool]},
        "tools/call": lambda: {"content": [{"type": "text", "text": "HEARD"}]},
    }
    result = answers.get(request["method"], dict)()
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


def config_of(directory: Path, claude: Path, model: ModelServer, **servers: McpServer) -> HarnessConfig:
    found = config_for(directory, Engine.CLAUDE)
    return replace(found, claude=claude, credentials=model.credentials(), mcp_servers=servers)


def test_a_model_switched_in_mid_turn_is_in_the_next_turns_request(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    def script(request: ModelRequest) -> Reply:
        if request.results:
            return Reply("done")
        return Reply("", (ToolUse("mcp__hyperhive__recv", {"wait_seconds": 30}),))

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("remember the number 41")
        await world.until(of_type("turn.tool_call"))
        changed = Envelope.of(ModelChanged(model="claude-opus-4-5"), source="supervisor")
        await world.bus.append(streams.control(AGENT), changed)
        await until(lambda: harness.status.state.model.queued == "claude-opus-4-5")
        await world.deliver("and 42")
        assert (await world.turn_end())["outcome"] == "ok"
        model.script = lambda request: Reply("done")
        before = len(model.requests)
        await world.deliver("now what?")
        assert (await world.turn_end())["outcome"] == "ok"
        assert len({request.body["model"] for request in model.requests[:before]}) == 1
        assert "haiku" in model.requests[0].body["model"]
        assert model.requests[-1].body["model"] == "claude-opus-4-5"
        assert "remember the number 41" in "\n".join(model.requests[-1].texts), "the session goes on"

    asyncio.run(_played(config_of(tmp_path, claude, model), story))


def test_the_effort_of_its_configuration_is_asked_of_the_model(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("hello")
        assert (await world.turn_end())["outcome"] == "ok"
        assert harness.status.state.effort == "low"
        assert model.requests[-1].body["output_config"]["effort"] == "low"

    config = replace(config_of(tmp_path, claude, model), model="claude-opus-4-5", effort=Effort.LOW)
    asyncio.run(_played(config, story))


def test_a_broken_server_is_reported_and_the_turn_goes_on_with_the_others(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    good = tmp_path / "echo_server.py"
    good.write_text(ECHO_SERVER)
    servers = {
        "good": McpServer(command=sys.executable, args=(str(good),)),
        "broken": McpServer(command="/nowhere/server"),
        "away": McpServer(url="http://127.0.0.1:1/mcp"),
    }

    def script(request: ModelRequest) -> Reply:
        return Reply("done") if request.results else Reply("", (ToolUse("mcp__good__shout", {}),))

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("shout")
        ended = await world.turn_end()
        assert ended["outcome"] == "ok", ended
        assert world.events(TurnToolResult)[-1].text == "HEARD"
        notes = "\n".join(note.text for note in world.events(TurnNote))
        assert "no connection to the MCP server broken, and goes on without it (failed)" in notes
        assert "no connection to the MCP server away" in notes
        assert set(harness.status.state.broken_servers) == {"broken", "away"}

    asyncio.run(_played(config_of(tmp_path, claude, model, **servers), story))


async def _played(config: HarnessConfig, story: Callable[[Outside, Harness], Awaitable[None]]) -> None:
    bus = MemoryBus()
    async with outside(bus) as world, running(config, bus) as harness:
        await story(world, harness)
