"""One look at the hive over its API, and what is different from the last one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from hive_cli.client import HiveClient
from hive_cli.output import why

MESSAGES: Final = 50
FINAL: Final = frozenset({"acked", "dead", "expired", "failed"})

Change = dict[str, Any]
"""`at`, `kind` (agent, message, question, approval, warning), `text`; and what it is about."""


@dataclass(frozen=True, slots=True)
class Look:
    """As the API gives them; messages newest first."""

    status: dict[str, Any]
    agents: list[dict[str, Any]]
    messages: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)
    approvals: list[dict[str, Any]] = field(default_factory=list)


def look(client: HiveClient) -> Look:
    """Raises `HiveError`."""
    return Look(
        client.get("/api/v1/status"),
        client.get("/api/v1/agents")["agents"],
        client.get("/api/v1/messages", limit=MESSAGES)["messages"],
        client.get("/api/v1/questions", waiting="true")["questions"],
        client.get("/api/v1/approvals", waiting="true")["approvals"],
    )


def doing(agent: dict[str, Any]) -> tuple[str, str, str]:
    """State, since when, and detail: the harness's word while its container runs, else the container's."""
    if agent["container"] == "running" and agent.get("state"):
        own = agent["state"]
        return own["state"], own["since"], why(own)
    return agent["container"], agent["container_since"], agent["detail"]


def changes(before: Look | None, now: Look) -> Iterator[Change]:
    """What happened in between; at first, what is."""
    yield from _of_agents(before, now)
    yield from _of_messages(before, now)
    for kind, text in (("question", "question"), ("approval", "description")):
        known = {one["id"] for one in (_list(before, kind) if before else [])}
        for one in _list(now, kind):
            if one["id"] not in known:
                who = one.get("asker") or one.get("requester")
                yield {"kind": kind, "id": one["id"], "text": f"{kind} {one['id']} from {who}: {one[text]}"}
    told = set(before.status.get("warnings", [])) if before else set()
    for warning in now.status.get("warnings", []):
        if warning not in told:
            yield {"kind": "warning", "text": f"warning: {warning}"}


def _list(found: Look, kind: str) -> list[dict[str, Any]]:
    return found.questions if kind == "question" else found.approvals


def _of_agents(before: Look | None, now: Look) -> Iterator[Change]:
    known = {agent["name"]: doing(agent) for agent in before.agents} if before else {}
    for agent in now.agents:
        name, found = agent["name"], doing(agent)
        if known.pop(name, None) != found:
            state, since, detail = found
            text = f"{name} is {state}" + (f": {detail}" if detail else "")
            yield {"kind": "agent", "agent": name, "state": state, "at": since, "text": text}
    for name in known:
        yield {"kind": "agent", "agent": name, "state": "gone", "text": f"{name} is gone"}


def _of_messages(before: Look | None, now: Look) -> Iterator[Change]:
    """New ones, and those that came to an end. None of those that were there at first."""
    if before is None:
        return
    known = {message["id"]: message["state"] for message in before.messages}
    oldest = min((message["sent_at"] for message in before.messages), default="")
    for message in reversed(now.messages):
        state = message["state"]
        if message["id"] not in known and message["sent_at"] >= oldest:
            yield _message(message, f"{message['sender']} → {message['recipient']}: {message['body']}")
        elif known.get(message["id"], state) != state and state in FINAL:
            yield _message(message, f"{message['id']} to {message['recipient']} is {state}")


def _message(message: dict[str, Any], text: str) -> Change:
    found = {key: message[key] for key in ("id", "sender", "recipient", "state")}
    return {"kind": "message", "at": message["sent_at"], "text": text, **found}
