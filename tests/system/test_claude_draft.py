"""A manager that is real Claude Code drafts an agent with git and its MCP tools; once approved, the agent answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hive import Hive, hive
from tests.support.model_server import ModelRequest, ModelServer, Reply, ToolUse
from tests.support.waiting import wait_until
from tests.system.test_claude_hive import claude, newest_message

__all__ = ["claude"]

pytestmark = [pytest.mark.system, pytest.mark.claude, pytest.mark.timeout(300)]

HIVE = "mcp__hyperhive__"
SEED = "Whoever asks is told that the roses are red."

WORK = """\
cd {path} && mkdir -p seed && printf '%s\\n' '{seed}' > seed/notes.md && printf 'effort = "low"\\n' >> agent.toml \
&& git add -A && git commit -qm 'A gardener' && git rev-parse HEAD"""


def story(request: ModelRequest) -> Reply:
    if "You are lin" in request.system:
        return gardener(request.results)
    if "from operator" not in newest_message(request):
        return Reply("good to know")
    return manager(request.results)


def gardener(steps: list[str]) -> Reply:
    """lin reads its first notes and tells what is in them."""
    if not steps:
        return Reply("", (ToolUse("Bash", {"command": "cat notes.md"}),))
    if "roses" in steps[-1]:
        return Reply("", (ToolUse(f"{HIVE}send", {"to": "operator", "body": f"my notes say: {steps[-1][:200]}"}),))
    return Reply("told")


def manager(steps: list[str]) -> Reply:
    """hm1nd makes a draft, commits in it and asks for it."""
    if not steps:
        return Reply("I draft it.", (ToolUse(f"{HIVE}request_spawn_draft", {"name": "lin"}),))
    if '"path"' in steps[-1]:
        path = json.loads(steps[-1])["path"]
        return Reply("", (ToolUse("Bash", {"command": WORK.format(path=path, seed=SEED)}),))
    if sha := re.fullmatch(r"[0-9a-f]{40}", steps[-1].strip()):
        wish = {"name": "lin", "commit_ref": sha[0][:12], "description": "a gardener"}
        return Reply("", (ToolUse(f"{HIVE}request_spawn_commit", wish),))
    return Reply("asked for")


@pytest.fixture
def running(claude: Path) -> Iterator[Hive]:
    with ModelServer(story) as model:
        environment = {**model.credentials(), "HIVE_CLAUDE": str(claude)}
        with hive("--engine", "claude", environment=environment) as started:
            yield started


def test_a_drafted_agent_wakes_with_its_seed_and_answers(running: Hive) -> None:
    running.send("hm1nd", "make me a gardener called lin")
    wait_until(lambda: running.api("GET", "/approvals")["approvals"], within_s=90)
    (asked,) = running.api("GET", "/approvals", params={"waiting": True})["approvals"]
    assert (asked["kind"], asked["agent"], asked["requester"]) == ("spawn_commit", "lin", "hm1nd")
    found = running.api("GET", f"/approvals/{asked['id']}")
    assert f"+{SEED}" in found["diff"]
    assert 'effort = "low"' in found["agent_files"]["after"]
    assert [draft["name"] for draft in running.api("GET", "/drafts")["drafts"]] == ["lin"]
    decision = {"decision": "approve", "commit": asked["commit"], "note": "welcome"}
    running.api("POST", f"/approvals/{asked['id']}/decision", json=decision)
    wait_until(lambda: _state(running, asked["id"]) == "deployed", within_s=60)
    running.send("lin", "what do your notes say?")
    wait_until(lambda: any(SEED in answer for answer in running.answers()), within_s=90)


def _state(running: Hive, approval: str) -> str:
    return str(running.api("GET", f"/approvals/{approval}")["approval"]["state"])
