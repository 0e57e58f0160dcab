"""A whole hive: notes and conversation are shortened, an engine without credentials is signed in, a key stays hidden.

Claude is a stand-in that talks as `claude auth` does; `tests/claude/test_upkeep.py` has the real one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

KEY = "sk-ant-api03-for-the-engine-of-ada-alone"
LINK = "https://claude.com/cai/oauth/authorize?code=true"
STAND_IN = f"""#!/bin/sh
credentials="$CLAUDE_CONFIG_DIR/.credentials.json"
case "$1 $2" in
"--version "*) echo "2.1.197 (Claude Code)" ;;
"auth status") test -e "$credentials" ;;
"auth login")
  echo "visit: {LINK}"
  read -r code
  test "$code" = good#code || {{ echo "Login failed: Invalid code"; exit 1; }}
  mkdir -p "$CLAUDE_CONFIG_DIR" && echo '{{}}' > "$credentials" ;;
*) cat > /dev/null ;;
esac
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        yield started


def work(hive: Hive, body: str, said: str) -> None:
    """Send it, and wait for the answer that begins with `said`."""
    hive.send("hm1nd", f"{body}\n!send operator {said}")
    wait_until(lambda: said in hive.answers(), within_s=60)


def state_of(hive: Hive, agent: str) -> str:
    return str(hive.api("GET", f"/agents/{agent}/state").get("state"))


def test_notes_are_shortened_and_the_agent_can_write_them_on(running: Hive) -> None:
    work(running, "!bash for n in $(seq 200); do echo fact $n is worth a line >> notes.md; done", "written")
    assert "hm1nd's notes: " in running.cli("compact", "hm1nd", "--notes")
    state = running.data_dir / "agents/hm1nd/state"
    (copy,) = (state / ".hive/notes").iterdir()
    assert copy.read_text().count("\n") == 200
    assert len((state / "notes.md").read_text()) < len(copy.read_text()) / 2
    work(running, "!bash echo one more >> notes.md && cat .hive/notes/*.md | wc -l > lines", "written on")
    assert (state / "notes.md").read_text().endswith("one more\n")
    assert (state / "lines").read_text().strip() == "200"


def test_a_conversation_is_shortened(running: Hive) -> None:
    work(running, "!usage 5000 10\n!say hello", "done")
    assert "→ 100 tokens" in running.cli("compact", "hm1nd")


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # started by root, agents are other users
    program = tmp_path / "claude"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return program


def test_an_agent_without_credentials_is_signed_in_and_one_with_a_key_is_not_asked(claude: Path) -> None:
    keys = dict.fromkeys(("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"), "")
    with hive("--engine", "claude", environment={"HIVE_CLAUDE": str(claude), **keys}) as started:
        (started.data_dir / "secrets/model-key-ada").write_text(KEY)
        started.cli("spawn", "ada")
        wait_until(lambda: state_of(started, "ada") == "idle", within_s=60)
        wait_until(lambda: state_of(started, "hm1nd") == "needs_login", within_s=60)
        assert LINK in started.cli("login", "hm1nd")
        assert "Invalid code" in started.cli("login", "hm1nd", "--code", "bad#code", status=4)
        started.cli("login", "hm1nd")
        assert "is signed in" in started.cli("login", "hm1nd", "--code", "good#code")
        assert state_of(started, "hm1nd") == "idle"
        assert "there is nothing to sign in to" in started.cli("login", "ada", status=4)
        agents = started.data_dir / "agents"
        assert (agents / "hm1nd/state/.claude/.credentials.json").exists()
        assert not (agents / "ada/state/.claude/.credentials.json").exists()
        assert not holding(KEY, [*agents.rglob("*"), *(started.data_dir / "logs").rglob("*"), started.log])
        processes = [Path("/proc", str(pid)) for pid in started.processes()]
        assert not holding(KEY, [folder / name for folder in processes for name in ("environ", "cmdline")])


def holding(text: str, paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue  # a process that is gone, or another user's
    return found
