"""`/api/v1/approvals`: commits that wait for the operator, what became of others, and the operator's decision."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hive_contracts.approvals import MAX_NOTE, ApprovalView, Decision, ResolveApproval
from hive_contracts.errors import NotFound
from hive_dashboard.parts import Parts, PartsOf

router = APIRouter(prefix="/approvals", tags=["approvals"])


class ApprovalList(BaseModel):
    approvals: list[ApprovalView]


class ApprovalDetail(BaseModel):
    """`diff` is unified, from `base` to `commit`: an agent wrote it."""

    approval: ApprovalView
    diff: str


class NewDecision(BaseModel):
    """`commit` is the one that was looked at, whole: a decision about another is refused."""

    decision: Decision
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    note: str = Field(default="", max_length=MAX_NOTE)


@router.get("")
def approvals(
    parts: PartsOf, *, waiting: bool = False, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> ApprovalList:
    """All, newest first. `waiting`: those that wait for a decision, oldest first."""
    return ApprovalList(approvals=parts.approvals.pending() if waiting else parts.approvals.recent(limit=limit))


@router.get("/{approval_id}")
def approval(parts: PartsOf, approval_id: str) -> ApprovalDetail:
    found = found_approval(parts, approval_id)
    return ApprovalDetail(approval=found, diff=parts.approvals.diff(approval_id))


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
