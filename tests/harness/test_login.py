"""Signing an engine in, with a stand-in that talks as `claude auth` does: a link, a line with a code, a status."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agent_rig import Outside, config_for, of_type, outside, running
from tests.support.waiting import until

from hive_contracts.agents import Engine, TurnState
from hive_contracts.control import BeginLogin, GiveLoginCode
from hive_harness.config import HarnessConfig, take_model_key
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus

Story = Callable[[Outside, Harness], Awaitable[None]]

LINK = "https://claude.com/cai/oauth/authorize?code=true&state=abc"
STAND_IN = f"""#!/bin/sh
credentials="$CLAUDE_CONFIG_DIR/.credentials.json"
case "$1 $2" in
"auth status") test -e "$credentials" ;;
"auth login")
  echo $$ > "$HOME/login.pid"
  printf "Opening browser to sign in…\\nIf the browser didn't open, visit: {LINK}\\nPaste code here if prompted > "
  read -r code
  test "$code" = good#code || {{ echo "Login failed: Invalid code"; exit 1; }}
  mkdir -p "$CLAUDE_CONFIG_DIR" && echo '{{}}' > "$credentials" && echo "Login successful." ;;
*) cat > /dev/null ;;
esac
"""


def config_of(directory: Path, text: str = STAND_IN, **credentials: str) -> HarnessConfig:
    program = directory / "claude"
    program.write_text(text)
    program.chmod(0o755)
    return replace(config_for(directory, Engine.CLAUDE), claude=program, credentials=credentials)


def play(config: HarnessConfig, story: Story) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with outside(bus) as world, running(config, bus) as harness:
            await story(world, harness)

    asyncio.run(main())


async def in_state(world: Outside, state: TurnState) -> None:
    await world.until(lambda event: event.data.get("state", {}).get("state") == state)


def test_an_engine_without_credentials_waits_for_its_login_and_then_goes_on(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await in_state(world, TurnState.NEEDS_LOGIN)
        await world.deliver("hello")
        assert (await world.told(BeginLogin()))["result"] == {"url": LINK}
        assert harness.status.state.login_url == LINK
        assert "turn.started" not in {event.type for event in world.seen}
        await world.told(GiveLoginCode(code="good#code"))
        assert "agent.logged_in" in {event.type for event in world.seen}
        await world.until(of_type("turn.started"))
        assert harness.status.state.login_url == ""

    play(config_of(tmp_path), story)
    assert (tmp_path / "state/.claude/.credentials.json").exists()


def test_a_wrong_code_is_refused_in_the_programs_words_and_the_code_is_told_to_nobody(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await world.told(BeginLogin())
        answer = await world.told(GiveLoginCode(code="wrong#code"))
        assert answer["reason"] == "the login did not succeed: Login failed: Invalid code"
        assert (await world.told(GiveLoginCode(code="good#code")))["reason"].startswith("no login waits for a code")
        assert harness.status.state.state is TurnState.NEEDS_LOGIN
        assert "wrong#code" not in "".join(json.dumps(event.data) for event in world.seen)

    play(config_of(tmp_path), story)
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"wrong#code" in path.read_bytes()]


def test_who_is_signed_in_or_was_given_a_key_is_asked_for_nothing(tmp_path: Path) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        await in_state(world, TurnState.IDLE)
        assert TurnState.NEEDS_LOGIN not in {event.data.get("state", {}).get("state") for event in world.seen}

    (tmp_path / "state/.claude").mkdir(parents=True)
    (tmp_path / "state/.claude/.credentials.json").write_text("{}")
    play(config_of(tmp_path), story)
    (tmp_path / "state/.claude/.credentials.json").unlink()
    play(config_of(tmp_path, ANTHROPIC_API_KEY="key"), story)


def test_a_login_that_is_begun_anew_ends_the_one_before_and_ends_with_its_harness(tmp_path: Path) -> None:
    pids = []

    async def story(world: Outside, harness: Harness) -> None:
        for _ in range(2):
            await world.told(BeginLogin())
            pids.append(int((tmp_path / "state/home/login.pid").read_text()))
        await until(lambda: not Path(f"/proc/{pids[0]}").exists())

    play(config_of(tmp_path), story)
    assert not Path(f"/proc/{pids[1]}").exists()


@pytest.mark.parametrize("text", ["#!/bin/sh\ntest $2 = login && echo sorry\nexit 1\n", "#!/nowhere\n"])
def test_a_program_that_shows_no_link_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    async def story(world: Outside, harness: Harness) -> None:
        answer = await world.told(BeginLogin())
        assert answer["code"] == "unavailable"
        assert "sorry" in answer["reason"] or "cannot be started" in answer["reason"]

    play(config_of(tmp_path, text), story)


def test_the_supervisors_key_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "model-key"
    path.write_text(json.dumps({"ANTHROPIC_API_KEY": "key", "PATH": "/evil"}))
    environ = {"HIVE_RUN_DIR": str(tmp_path)}
    assert take_model_key(environ) == {"ANTHROPIC_API_KEY": "key"}
    assert not path.exists()
    assert take_model_key(environ) == {}
