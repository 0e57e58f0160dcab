"""`/approvals`, `/approvals/<id>` with the diff, and the form that decides."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from hive_contracts.approvals import Decision, ResolveApproval
from hive_dashboard.api.approvals import found_approval
from hive_dashboard.diff import files_of
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views import ApprovalPage, ApprovalsPage, Flash

PAGE_LENGTH = 100
SAID = {
    Decision.APPROVE: "Approved: it is being deployed.",
    Decision.DENY: "Denied: who asked is told so.",
    Decision.REQUEST_CHANGES: "Who asked is told what to change.",
}

router = APIRouter()


class Given(BaseModel):
    decision: Decision
    commit: str
    note: str = ""


@router.get("/approvals", response_class=HTMLResponse)
async def approvals(parts: PartsOf, session: SignedIn) -> str:
    pending = await asyncio.to_thread(parts.approvals.pending)
    found = await asyncio.to_thread(parts.approvals.recent, limit=PAGE_LENGTH)
    shell = make_shell(parts, session, "Approvals", path="/approvals", stream="page=home")
    history = tuple(one for one in found if one.state.is_final or one not in pending)
    return parts.renderer.page(ApprovalsPage(shell, tuple(pending), history))


@router.get("/approvals/{approval_id}", response_class=HTMLResponse)
async def approval(
    parts: PartsOf, session: SignedIn, approval_id: str, file: Annotated[str, Query(max_length=300)] = ""
) -> str:
    """`file`: the diff of this one alone."""
    found = await asyncio.to_thread(found_approval, parts, approval_id)
    diff = await asyncio.to_thread(parts.approvals.diff, approval_id)
    files = await asyncio.to_thread(files_of, diff, only=file)
    shell = make_shell(parts, session, f"Approval {found.id}", path=f"/approvals/{found.id}", stream="page=home")
    return parts.renderer.page(ApprovalPage(shell, found, tuple(files)))


@router.post("/approvals/{approval_id}/decision")
async def decide(
    request: Request, parts: PartsOf, session: SignedIn, approval_id: str, given: Annotated[Given, Form()]
) -> Response:
    wish = ResolveApproval(id=approval_id, decision=given.decision, commit=given.commit, note=given.note)
    await parts.commands.command(wish)
    return told(request, parts, session, Flash(SAID[given.decision]), back=f"/approvals/{approval_id}")
