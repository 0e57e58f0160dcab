"""`/approvals`, `/approvals/<id>` with what changes and what follows from it, and the form that decides."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from hive_contracts.approvals import (
    ApprovalKind,
    ApprovalState,
    ApprovalView,
    BaseKind,
    Decision,
    ResolveApproval,
)
from hive_contracts.errors import HiveError, InvalidBody
from hive_contracts.names import MANAGER
from hive_dashboard.answers import is_htmx
from hive_dashboard.api.approvals import found_approval
from hive_dashboard.auth import Session
from hive_dashboard.diff import DiffFile, files_of
from hive_dashboard.outlook import REACHED, bases_of, outlook_of
from hive_dashboard.pages.shell import make_shell, told
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.views.approvals import ApprovalFilter, ApprovalPage, ApprovalsPage
from hive_dashboard.views.shell import Flash
from hive_runtime.records.approvals import StoredDiff

PAGE_LENGTH: Final = 50
SEED: Final = "seed/"
CUT: Final = " bytes more\n"
"""How a diff ends that was cut when it was stored."""

SAID: Final = {
    Decision.APPROVE: "Approved: it is being carried out.",
    Decision.DENY: "Denied: who asked is told so.",
    Decision.REQUEST_CHANGES: "Who asked is told what to change.",
}

router = APIRouter()


class Given(BaseModel):
    """`sure`: the agent's name, typed once more to have it purged."""

    decision: Decision
    commit: str = ""
    note: str = ""
    sure: str = ""
    back: str = ""


class Asked(BaseModel):
    """The filter of the history; anything unknown is no filter."""

    agent: str = ""
    kind: str = ""
    state: str = ""
    before: str = ""

    @property
    def filter(self) -> ApprovalFilter:
        kind = ApprovalKind(self.kind) if self.kind in [*ApprovalKind] else None
        state = ApprovalState(self.state) if self.state in [*ApprovalState] else None
        return ApprovalFilter(self.agent[:64], kind, state)


@router.get("/approvals", response_class=HTMLResponse)
async def approvals(parts: PartsOf, session: SignedIn, asked: Annotated[Asked, Query()]) -> str:
    chosen = asked.filter
    path = f"/approvals?{_query(asked)}".rstrip("?")
    shell = make_shell(parts, session, "Approvals", path="/approvals", stream="page=home")
    pending = await asyncio.to_thread(parts.approvals.pending)
    found = await asyncio.to_thread(
        parts.approvals.search,
        agent=chosen.agent, kind=chosen.kind, state=chosen.state, before=asked.before[:64], limit=PAGE_LENGTH,
    )  # fmt: skip
    more = len(found) == PAGE_LENGTH
    view = ApprovalsPage(
        shell,
        pending=() if asked.before else tuple(pending),
        history=tuple(one for one in found if one.state is not ApprovalState.PENDING),
        wider=parts.snapshots.current.wider,
        asked=chosen,
        agents=_names(parts, found),
        older=f"{path}{'&' if '?' in path else '?'}{urlencode({'before': found[-1].id})}" if more else "",
    )
    return parts.renderer.page(view)


@router.get("/approvals/{approval_id}", response_class=HTMLResponse)
async def approval(
    parts: PartsOf,
    session: SignedIn,
    approval_id: str,
    base: str = "",
    file: Annotated[str, Query(max_length=300)] = "",
) -> str:
    """`base`: what the files are drawn against. `file`: the diff of this one alone."""
    return await render_approval(parts, session, approval_id, base=base, only=file)


@router.post("/approvals/{approval_id}/decision")
async def decide(
    request: Request, parts: PartsOf, session: SignedIn, approval_id: str, given: Annotated[Given, Form()]
) -> Response:
    """A decision that was taken already, by a second click or another operator, is no error; another one is."""
    try:
        await _decide(parts, approval_id, given)
        flash = Flash(SAID[given.decision])
    except HiveError as error:
        now = await asyncio.to_thread(found_approval, parts, approval_id)
        if now.state not in REACHED[given.decision] or now.commit != given.commit:
            return await _refused(request, parts, session, approval_id, given, error)
        flash = Flash(f"That was decided already: it is {now.state.value.replace('_', ' ')}.", "note")
    await parts.snapshots.refresh()
    return told(request, parts, session, flash, back=given.back or f"/approvals/{approval_id}")


async def render_approval(
    parts: Parts, session: Session, approval_id: str, *, base: str = "", only: str = "", note: str = ""
) -> str:
    """`note`: what was written into the form already."""
    shell = make_shell(parts, session, f"Approval {approval_id}", path=f"/approvals/{approval_id}", stream="page=home")
    found = await asyncio.to_thread(found_approval, parts, approval_id)
    stored = await asyncio.to_thread(parts.approvals.agent_files, found.id)
    diffs = await asyncio.to_thread(parts.approvals.diffs, found.id)
    diff = _chosen(diffs, base)
    files: list[DiffFile] = await asyncio.to_thread(files_of, diff.text, only=only) if diff else []
    view = ApprovalPage(
        shell,
        approval=found,
        outlook=outlook_of(found, stored, parts.snapshots.current.agent(found.agent), seeds=_seeds(files)),
        files=tuple(files),
        bases=bases_of(diffs, past=found.state is not ApprovalState.PENDING),
        base=diff.base_kind if diff else BaseKind.RUNNING,
        only=only,
        cut=bool(diff and diff.text.endswith(CUT)),
        note=note,
    )
    return parts.renderer.page(view)


async def _decide(parts: Parts, approval_id: str, given: Given) -> None:
    found = await asyncio.to_thread(found_approval, parts, approval_id)
    if found.kind is ApprovalKind.PURGE and given.decision is Decision.APPROVE and given.sure.strip() != found.agent:
        raise InvalidBody(f"nothing was done: type {found.agent} on its page to have all of it wiped")
    wish = ResolveApproval(id=approval_id, decision=given.decision, commit=given.commit, note=given.note)
    await parts.commands.command(wish)


async def _refused(
    request: Request, parts: Parts, session: Session, approval_id: str, given: Given, error: HiveError
) -> Response:
    """The page as it is by now, with the reason on it and the note still written."""
    await parts.snapshots.refresh()
    if is_htmx(request):
        raise error
    parts.flashes.add(session, Flash(str(error), "bad"))
    page = await render_approval(parts, session, approval_id, note=given.note)
    return HTMLResponse(page, status_code=error.status or HTTPStatus.CONFLICT)


def _chosen(diffs: tuple[StoredDiff, ...], base: str) -> StoredDiff | None:
    return next((diff for diff in diffs if diff.base_kind == base), diffs[0] if diffs else None)


def _seeds(files: list[DiffFile]) -> int:
    return sum(file.path.startswith(SEED) and file.status != "deleted" for file in files)


def _query(asked: Asked) -> str:
    return urlencode({name: value for name, value in asked if value and name != "before"})


def _names(parts: Parts, found: list[ApprovalView]) -> tuple[str, ...]:
    """Whom the filter offers: those that are there, and those of this page that are not any more."""
    names = {agent.name for agent in parts.snapshots.current.agents} | {one.agent for one in found}
    return tuple(sorted(names, key=lambda name: (name != MANAGER, name)))
