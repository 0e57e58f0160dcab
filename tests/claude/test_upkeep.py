"""The real Claude Code: its key, its `/compact`, and a session without tools that rewrites notes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agent_rig import Outside, config_for, outside, running
from tests.support.model_server import Failure, ModelRequest, ModelServer, Reply, ToolUse

from hive_contracts.agents import Engine, TurnState
from hive_contracts.control import BeginLogin, CompactAgent, GiveLoginCode
from hive_contracts.turns import TurnNote, TurnStarted, TurnToolResult
from hive_dashboard.control import sign_in_host
from hive_harness.config import HarnessConfig
from hive_harness.prompt import CHECKPOINT
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]

Story = Callable[[Outside, Harness], Awaitable[None]]

KEY = "sk-ant-api03-a-key-that-no-tool-may-see"
LOOK = "env; cat /proc/$PPID/environ; cat /proc/$PPID/cmdline; timeout 1 cat /proc/$PPID/fd/3"
LONG = "# Notes\n\n" + "- a line that says little\n" * 100


def config_of(directory: Path, claude: Path, model: ModelServer, **settings: float) -> HarnessConfig:
    found = config_for(directory, Engine.CLAUDE, **settings)
    return replace(found, claude=claude, credentials=model.credentials() | {"ANTHROPIC_API_KEY": KEY})


def play(config: HarnessConfig, story: Story) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config, bus) as harness:
            await story(world, harness)

    asyncio.run(main())


def is_summary(request: ModelRequest) -> bool:
    """Whether Claude Code asks for the summary that becomes the conversation."""
    return "Respond with TEXT ONLY" in request.last


async def in_state(world: Outside, state: TurnState) -> None:
    await world.until(lambda event: event.data.get("state", {}).get("state") == state)


def test_the_key_reaches_the_model_and_no_tool(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    model.script = lambda request: (
        Reply("seen") if request.results else Reply("", (ToolUse("Bash", {"command": LOOK}),))
    )

    async def story(world: Outside, harness: Harness) -> None:
        await world.deliver("look around")
        assert (await world.turn_end())["outcome"] == "ok"
        (result,) = world.events(TurnToolResult)
        assert "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR=" in result.text
        assert "redacted" not in result.text

    play(config_of(tmp_path, claude, model), story)
    assert model.keys == {KEY}
    assert KEY not in "".join(model.requests[-1].texts)
    state = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in state if KEY.encode() in path.read_bytes()]


def test_past_the_watermark_claude_writes_its_notes_and_compacts(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    def script(request: ModelRequest) -> Reply:
        if is_summary(request):
            return Reply("<analysis>-</analysis><summary>we said hello</summary>")
        return Reply("ok", input_tokens=160_000 if "fill" in request.last else 1000)

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        for body in ("one", "two", "three", "fill the window"):
            await world.deliver(body)
            assert (await world.turn_end())["outcome"] == "ok"
        await in_state(world, TurnState.COMPACTING)
        await in_state(world, TurnState.IDLE)
        assert [event.prompt for event in world.events(TurnStarted)][-1] == CHECKPOINT
        assert any("the conversation was shortened: " in note.text for note in world.events(TurnNote))
        assert harness.status.state.context_tokens < 10_000
        session = harness.status.state.session_id
        await world.deliver("go on")
        assert (await world.turn_end())["session_id"] == session

    play(config_of(tmp_path, claude, model), story)
    assert CHECKPOINT in "\n".join("".join(request.texts) for request in model.requests)
    last = "\n".join(model.requests[-1].texts)
    assert "we said hello" in last
    assert "fill the window" not in last


def test_a_conversation_that_no_longer_fits_is_compacted_and_the_message_tried_again(
    tmp_path: Path, claude: Path, model: ModelServer
) -> None:
    compacted: list[bool] = []

    def script(request: ModelRequest) -> Reply | Failure:
        if is_summary(request):
            compacted.append(True)
            return Reply("<analysis>-</analysis><summary>we said hello</summary>")
        if "too much" in request.last and not compacted:
            return Failure(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
        return Reply("ok")

    model.script = script

    async def story(world: Outside, harness: Harness) -> None:
        for body in ("one", "two", "three"):
            await world.deliver(body)
            await world.turn_end()
        head = await world.deliver("too much")
        while (ended := (await world.turn_end()))["outcome"] != "ok" or head not in ended["messages"]:
            assert ended["outcome"] in {"prompt_too_long", "ok"}

    play(config_of(tmp_path, claude, model), story)
    assert compacted


def test_notes_are_rewritten_by_a_session_without_tools(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    model.script = lambda request: Reply("<notes>\n# Notes\n- little\n</notes>")
    config = config_of(tmp_path, claude, model)
    path = config.state_dir / "notes.md"
    path.write_text(LONG)

    async def story(world: Outside, harness: Harness) -> None:
        told = await world.told(CompactAgent(notes=True))
        assert told["result"]["bytes_before"] == len(LONG)
        assert path.read_text() == "# Notes\n- little\n"

    play(config, story)
    (request,) = model.requests
    assert LONG in request.last
    assert request.tools == []
    assert model.keys == {KEY}


def test_a_cut_off_answer_leaves_the_notes_alone(tmp_path: Path, claude: Path, model: ModelServer) -> None:
    model.script = lambda request: Reply("<notes>\n# Not")
    config = config_of(tmp_path, claude, model)
    (config.state_dir / "notes.md").write_text(LONG)

    async def story(world: Outside, harness: Harness) -> None:
        assert (await world.told(CompactAgent(notes=True)))["code"] == "notes_not_taken"

    play(config, story)
    assert (config.state_dir / "notes.md").read_text() == LONG


def test_the_real_login_shows_its_link_and_takes_the_code(tmp_path: Path, claude: Path) -> None:
    """Without a network it goes so far: the code cannot be turned into credentials."""
    config = replace(config_for(tmp_path, Engine.CLAUDE), claude=claude)

    async def story(world: Outside, harness: Harness) -> None:
        await in_state(world, TurnState.NEEDS_LOGIN)
        url = (await world.told(BeginLogin()))["result"]["url"]
        assert url.startswith("https://claude.com/cai/oauth/authorize?")
        assert sign_in_host(url) == "claude.com"
        refused = await world.told(GiveLoginCode(code="no-code#no-state"))
        assert refused["reason"].startswith("the login did not succeed: ")
        assert harness.status.state.state is TurnState.NEEDS_LOGIN

    play(config, story)
