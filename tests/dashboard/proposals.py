"""Approvals as the supervisor stores them, without a supervisor."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from typing import Any

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_runtime.records.approvals import AgentFiles, ApprovalWriter, StoredDiff

SHA = "a" * 40
BASE = "b" * 40
OTHER = "c" * 40


def approval(identity: str = "a-1", **facts: Any) -> ApprovalView:
    """One that waits, for a change of ada's."""
    now = datetime.now(UTC)
    base: dict[str, Any] = {
        "id": identity,
        "kind": ApprovalKind.APPLY_COMMIT,
        "agent": "ada",
        "requester": "hm1nd",
        "state": ApprovalState.PENDING,
        "commit": SHA,
        "base": BASE,
        "description": "<b>better</b>",
        "requested_at": now,
        "expires_at": now + timedelta(days=7),
    }
    return ApprovalView(**(base | facts))


def diff_of(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Near enough to git's."""
    return "".join(
        _file(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def _file(path: str, old: str | None, new: str | None) -> str:
    head = f"diff --git a/{path} b/{path}\n"
    if old is None:
        head += "new file mode 100644\n"
    if new is None:
        head += "deleted file mode 100644\n"
    names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
    lines = unified_diff((old or "").splitlines(True), (new or "").splitlines(True), *names)
    return head + "".join(lines)


def propose(
    writer: ApprovalWriter,
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    former: Mapping[str, str] | None = None,
    **facts: Any,
) -> ApprovalView:
    """Stores one: `former` is the proposal before it."""
    found = approval(**facts)
    diffs = [StoredDiff(BaseKind.RUNNING, found.base, diff_of(before, after))]
    if former is not None:
        diffs.append(StoredDiff(BaseKind.PREVIOUS_PROPOSAL, OTHER, diff_of(former, after)))
    files = AgentFiles(before.get("agent.toml"), after.get("agent.toml", ""))
    writer.add(found, diffs if found.commit else (), files if found.commit else None)
    return found
