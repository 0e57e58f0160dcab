"""A hive with something of everything in it, for those who look at every page."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.browser.stage import Stage

from hive_contracts import streams
from hive_contracts.agents import AgentFlooding, ContainerStatus, Desired, ModelView, TurnOutcome, TurnState
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.envelope import Envelope
from hive_contracts.messages import LoopStopped, MessageRefused
from hive_contracts.permissions import PermissionRequest
from hive_contracts.questions import AskQuestion
from hive_contracts.turns import TurnNote, TurnStderr, TurnText, TurnThinking, TurnToolCall, TurnToolResult
from hive_dashboard.needs import REFUSALS
from hive_runtime.records.approvals import ApprovalWriter

LOGIN = "https://claude.ai/oauth/authorize?code=true&client_id=hive"
NEEDS = 11
"""So many items stand in the queue then."""

FACTS: dict[str, Any] = {
    "model": ModelView(active="haiku", queued="opus"),
    "context_tokens": 84_000,
    "context_share": 0.42,
    "cost_usd": 3.1,
    "cost_day_usd": 0.82,
}


async def everything(stage: Stage) -> str:
    """Each kind of need, each state of an agent, and a conversation; returns the first message's id."""
    await _agents(stage)
    first = await _talk(stage)
    await _needs(stage)
    await _alerts(stage, first)
    return first


async def _agents(stage: Stage) -> None:
    scene = stage.scene
    await scene.info("Agents run as plain child processes: bubblewrap is not installed. Install it, or trust them.")
    for name in ("scout", "reviewer", "lin", "builder", "broken", "old"):
        await scene.agent(name)
    await scene.state("scout", **FACTS)
    until = datetime.now(UTC) + timedelta(hours=2)
    await scene.state("reviewer", TurnState.RATE_LIMITED, detail="the weekly limit is reached", until=until)
    await scene.state("lin", TurnState.NEEDS_LOGIN, login_url=LOGIN, detail="no credentials")
    changes: dict[str, dict[str, Any]] = {
        "builder": {"container": ContainerStatus.STOPPED, "desired": Desired.STOPPED},
        "broken": {
            "container": ContainerStatus.QUARANTINED,
            "detail": "exit status 137, out of memory, five times in ten minutes",
            "restarts": 5,
        },
        "old": {"container": ContainerStatus.STOPPED, "desired": Desired.DESTROYED},
    }
    for name, facts in changes.items():
        await scene.register(scene.records[name].model_copy(update=facts))


async def _talk(stage: Stage) -> str:
    scene = stage.scene
    await scene.send("operator", "hm1nd", "Please look at the failing build:\n\n    ImportError: no name 'Feed'")
    entry_id, message = await scene.take("hm1nd")
    turn = await scene.begin("hm1nd", message)
    await turn.say(TurnNote, text="session resumed")
    await turn.say(TurnThinking, text="An import error.\nLook at the module first.")
    await turn.say(TurnText, text="I look at the **log** first, then hand it to `scout`.")
    await turn.say(TurnToolCall, call_id="1", name="Bash", input={"command": "git log --oneline -5 && pytest -x"})
    await turn.say(TurnToolResult, call_id="1", text="E   ImportError: cannot import name 'Feed'\n" * 12)
    edit = {"file_path": "/state/feed.py", "old_string": "class Feeds:", "new_string": "class Feed:"}
    await turn.say(TurnToolCall, call_id="2", name="Edit", input=edit)
    await turn.say(TurnToolResult, call_id="2", text="File does not exist.", is_error=True)
    await scene.send("hm1nd", "scout", "Find out when Feed was renamed, please.", cause=message.id)
    await scene.send("hm1nd", "operator", "scout looks into it; I report when it is fixed.", in_reply_to=message.id)
    await turn.say(TurnStderr, text="warning: the index is slow to load")
    await turn.say(TurnText, text="Done: scout is on it.")
    await turn.end(entry_id, cost_usd=0.0421)
    _, second = await scene.take("scout")
    await (await scene.begin("scout", second)).say(TurnText, text="Looking at the history.")
    await scene.state("scout", TurnState.THINKING, **FACTS)
    await _die(stage)
    return message.id


async def _die(stage: Stage) -> None:
    """A message that kills builder's turns until it is given up."""
    scene = stage.scene
    await scene.send("operator", "builder", "Build the release and tag it.")
    entry_id, message = await scene.take("builder")
    for _ in range(5):
        turn = await scene.begin("builder", message)
        await turn.end(entry_id, TurnOutcome.ENGINE_CRASHED, reason="exit status 9")


async def _needs(stage: Stage) -> None:
    writer = ApprovalWriter(stage.process.data_dir / "approvals.sqlite")
    now = datetime.now(UTC)
    approval = ApprovalView(
        id="a-0000000000000001",
        kind=ApprovalKind.APPLY_COMMIT,
        agent="scout",
        requester="hm1nd",
        state=ApprovalState.PENDING,
        commit="a" * 40,
        base="b" * 40,
        description="Let scout read the web, for the changelogs of what we depend on.",
        requested_at=now,
        expires_at=now + timedelta(days=1),
    )
    diff = "diff --git a/agent.toml b/agent.toml\n--- a/agent.toml\n+++ b/agent.toml\n@@ -1 +1,2 @@\n"
    writer.add(approval, f'{diff} model = "haiku"\n+network = "host"\n')
    writer.close()
    await _ask(stage, "hm1nd", "What shall the release be called?", options=("Clementine", "Bea"), ttl_seconds=7200)
    await _ask(stage, "hm1nd", "Which of these may I delete?", options=("build/", "dist/", ".cache/"), multi=True)
    wanted = PermissionRequest(tool="Bash", command="git push --force origin main", pattern="git push *")
    await _ask(stage, "scout", "May I use Bash?", permission=wanted, ttl_seconds=600)


async def _alerts(stage: Stage, message: str) -> None:
    reason = "its streams take 80 MiB of Redis, 64 are its quota"
    flood = AgentFlooding(agent="scout", reason=reason, pause_seconds=20)
    reason = "this conversation is 32 messages long without a word from the operator, so it was stopped"
    loop = LoopStopped(trace_id=message, sender="scout", to="hm1nd", hop=33, reason=reason)
    refused = MessageRefused(
        sender="hm1nd", to="scout", code="too_fast", reason="you may send scout 60 messages a minute"
    )
    for fact in (flood, loop, *([refused] * REFUSALS)):
        await stage.scene.tell(fact)


async def _ask(stage: Stage, asker: str, question: str, **facts: Any) -> None:
    envelope = Envelope.of(AskQuestion(question=question, **facts), source=asker)
    await stage.scene.bus.append(streams.outbox(asker), envelope)
