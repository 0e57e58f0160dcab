"""The manager changes a configuration with git and its tools; the operator approves; the agent runs with it."""

import json
import os
import signal

import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until
from tests.system.test_manager_tools import call, tell

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def commit(running: Hive, agent: str, text: str) -> str:
    """The manager commits `text` as agent.toml in its clone; the sha."""
    path = json.loads(call(running, "hm1nd", "fetch_config", agent=agent))["path"]
    (running.data_dir / "agents" / "hm1nd" / "state" / "new.toml").write_text(text)
    git = f"git -C {path}"
    tell(
        running,
        "hm1nd",
        f"!bash {git} checkout -q --detach origin/main && cp new.toml {path}/agent.toml && {git} add -A"
        f" && {git} commit -qm change && {git} rev-parse HEAD > sha",
    )
    return (running.data_dir / "agents" / "hm1nd" / "state" / "sha").read_text().strip()


def request(running: Hive, agent: str, sha: str) -> str:
    """The id of the approval."""
    told = call(running, "hm1nd", "request_apply_commit", agent=agent, commit_ref=sha[:10], description="better")
    assert "waits for the operator" in told, told
    return told.split()[0]


def state(running: Hive, approval: str) -> str:
    return str(running.api("GET", f"/approvals/{approval}")["approval"]["state"])


def test_a_commit_of_the_managers_is_looked_at_approved_and_deployed() -> None:
    with hive() as running:
        running.cli("spawn", "ada")
        first = commit(running, "ada", 'recipients = ["hm1nd"]\n')
        if "bubblewrap" in running.api("GET", "/status")["info"]["isolation"]:
            assert "recipients" in tell(running, "hm1nd", "!bash cat /agents/ada/config/agent.toml")
        approval = request(running, "ada", first)
        again = call(running, "hm1nd", "request_apply_commit", agent="ada", commit_ref=first, description="please")
        assert approval in again
        assert "nothing new was asked for" in again
        assert '+recipients = ["hm1nd"]' in running.cli("approval", approval)
        assert approval in running.cli("approvals")
        assert running.api("GET", "/agents/ada")["config"]["recipients"] is None
        assert "approved" in running.cli("approve", approval, "--note", "fine")
        wait_until(lambda: state(running, approval) == "deployed", within_s=60)
        assert running.api("GET", "/agents/ada")["config"]["recipients"] == ["hm1nd"]
        wait_until(lambda: any(f"{approval}," in body and "is deployed" in body for body in told(running)), within_s=30)
        running.cli("approve", approval, status=4)

        wrong = call(running, "hm1nd", "request_apply_commit", agent="ada", commit_ref="main")
        assert "is not a sha" in wrong
        second = commit(running, "ada", 'model = "opus"\n')
        denied = request(running, "ada", second)
        running.cli("deny", denied, "--note", "too dear")
        wait_until(lambda: any(f"{denied}," in body and "too dear" in body for body in told(running)), within_s=30)
        assert "Nothing waits for you" in running.cli("approvals")


def test_the_manager_drafts_an_agent_and_the_operator_approves_changes_and_rolls_back() -> None:
    with hive() as running:
        made = json.loads(call(running, "hm1nd", "request_spawn_draft", name="lin"))
        assert "lin" in running.cli("drafts")
        running.cli("spawn", "lin", status=4)
        path = made["path"]
        sha = committed(
            running,
            path,
            "mkdir -p seed && echo 'the garden is yours' > seed/notes.md && echo 'effort = \"low\"' >> agent.toml",
        )
        asked = call(
            running, "hm1nd", "request_spawn_commit", name="lin", commit_ref=sha[:12], description="a gardener"
        )
        approval = asked.split()[0]
        assert state(running, approval) == "pending", asked
        assert "the garden is yours" in running.cli("approval", approval)
        running.cli("approve", approval)
        wait_until(lambda: state(running, approval) == "deployed", within_s=60)
        assert "Nothing is being drafted" in running.cli("drafts")
        told_all = tell(running, "lin", "!bash cat notes.md")
        assert "the garden is yours" in told_all

        assert 'effort = "low"' in running.cli("config", "lin")
        (running.data_dir / "secrets" / "value-GARDEN_TOKEN").write_text("s3cret-of-the-garden")
        named = running.data_dir / "named.toml"
        named.write_text('secrets = ["GARDEN_TOKEN"]\npackages = ["sh"]\n')
        running.cli("config", "lin", "--file", str(named))
        read = tell(running, "lin", "!bash echo ${#GARDEN_TOKEN} $GARDEN_TOKEN")
        assert read.split()[0] == "20"
        assert "s3cret" not in read, "it is taken out of what is shown"
        named.write_text('packages = ["no-such-program-anywhere"]\n')
        running.cli("config", "lin", "--file", str(named), status=4)
        assert running.api("GET", "/agents/lin")["config"]["secrets"] == ["GARDEN_TOKEN"], "what ran before is back"
        (running.data_dir / "mine.toml").write_text('effort = "high"\n')
        assert "runs with it" in running.cli("config", "lin", "--file", str(running.data_dir / "mine.toml"))
        assert running.api("GET", "/agents/lin")["config"]["effort"] == "high"
        running.cli("rollback", "lin")
        assert running.api("GET", "/agents/lin")["config"]["secrets"] == ["GARDEN_TOKEN"]
        running.cli("rollback", "lin", approval)
        assert running.api("GET", "/agents/lin")["config"]["effort"] == "low"
        kinds = [(one["kind"], one["requester"]) for one in running.api("GET", "/approvals")["approvals"]]
        assert kinds == [("apply_commit", "operator")] * 5 + [("spawn_commit", "hm1nd")]


def committed(running: Hive, path: str, work: str) -> str:
    """The manager does `work` in its clone at `path` and commits all; the sha."""
    done = f"{work} && git add -A && git commit -qm new && git rev-parse HEAD > $state/sha"
    tell(running, "hm1nd", f"!bash state=$PWD && cd {path} && {done}")
    return (running.data_dir / "agents" / "hm1nd" / "state" / "sha").read_text().strip()


def test_a_supervisor_that_is_killed_while_it_deploys_goes_on_with_it() -> None:
    with hive() as running:
        running.cli("spawn", "ada")
        approval = request(running, "ada", commit(running, "ada", 'recipients = ["hm1nd"]\n'))
        running.cli("approve", approval)
        os.kill(running.process_of("hive_supervisor"), signal.SIGKILL)
        wait_until(lambda: state(running, approval) == "deployed", within_s=60)
        assert running.api("GET", "/agents/ada")["config"]["recipients"] == ["hm1nd"]
        wait_until(lambda: running.api("GET", "/agents/ada")["container"] == "running", within_s=60)


def told(running: Hive) -> list[str]:
    """What the system wrote to the manager."""
    messages = running.api("GET", "/agents/hm1nd/inbox", params={"limit": 200})["messages"]
    return [message["body"] for message in messages if message["sender"] == "system"]
