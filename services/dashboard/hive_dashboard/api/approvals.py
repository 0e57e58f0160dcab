"""`/api/v1/approvals`: commits that wait for the operator, what became of others, and the operator's decision."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hive_contracts.approvals import (
    MAX_NOTE,
    SHA_OR_NONE,
    ApprovalKind,
    ApprovalState,
    ApprovalView,
    BaseKind,
    Decision,
    ResolveApproval,
)
from hive_contracts.errors import NotFound
from hive_dashboard.parts import Parts, PartsOf

router = APIRouter(prefix="/approvals", tags=["approvals"])


class ApprovalList(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing, and for those that wait."""

    approvals: list[ApprovalView]
    next: str | None = None


class DiffView(BaseModel):
    """Unified, from `base` to the approval's commit; an empty `base` is nothing. An agent wrote it."""

    base_kind: BaseKind
    base: str
    text: str


class AgentFilesView(BaseModel):
    """`agent.toml` as it was, and as it would be."""

    before: str | None
    after: str


class ApprovalDetail(BaseModel):
    """`diff` is that of `diffs` which is against what ran; an agent wrote them."""

    approval: ApprovalView
    diff: str
    diffs: list[DiffView]
    agent_files: AgentFilesView | None


class NewDecision(BaseModel):
    """`commit` is the one that was looked at, whole, or empty where there is none: any other is refused."""

    decision: Decision
    commit: str = Field(default="", pattern=SHA_OR_NONE)
    note: str = Field(default="", max_length=MAX_NOTE)


@router.get("")
def approvals(  # noqa: PLR0913 - one parameter a field of the query
    parts: PartsOf,
    *,
    waiting: bool = False,
    agent: Annotated[str, Query(max_length=64)] = "",
    kind: ApprovalKind | None = None,
    state: ApprovalState | None = None,
    before: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ApprovalList:
    """Approvals, all or those that fit, newest first, `before` one's id. `waiting`: those that wait, oldest first."""
    if waiting:
        return ApprovalList(approvals=parts.approvals.pending())
    found = parts.approvals.search(agent=agent, kind=kind, state=state, before=before, limit=limit)
    return ApprovalList(approvals=found, next=found[-1].id if len(found) == limit else None)


@router.get("/{approval_id}")
def approval(parts: PartsOf, approval_id: str) -> ApprovalDetail:
    """One approval, with what it would change."""
    found = found_approval(parts, approval_id)
    agent_files = parts.approvals.agent_files(approval_id)
    return ApprovalDetail(
        approval=found,
        diff=parts.approvals.diff(approval_id),
        diffs=[DiffView(**asdict(diff)) for diff in parts.approvals.diffs(approval_id)],
        agent_files=AgentFilesView(**asdict(agent_files)) if agent_files else None,
    )


@router.post("/{approval_id}/decision")
async def decide(parts: PartsOf, approval_id: str, new: NewDecision) -> ApprovalView:
    """Approve, deny or request changes, as the operator; answered once it is decided, not once it is deployed."""
    await parts.commands.command(
        ResolveApproval(id=approval_id, decision=new.decision, commit=new.commit, note=new.note)
    )
    return found_approval(parts, approval_id)


def found_approval(parts: Parts, approval_id: str) -> ApprovalView:
    """Raises `NotFound`."""
    found = parts.approvals.get(approval_id)
    if found is None:
        raise NotFound(f"there is no approval {approval_id[:64]!r}; `hive approvals` lists those there are")
    return found
