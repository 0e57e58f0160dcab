"""`/api/v1/drafts`: agents that are not there yet, and what the operator does with them."""

from fastapi import APIRouter
from pydantic import BaseModel

from hive_contracts.drafts import DiscardDraft, DraftView, TakeOverDraft
from hive_contracts.errors import NotFound
from hive_dashboard.parts import Parts, PartsOf

router = APIRouter(prefix="/drafts", tags=["drafts"])


class DraftList(BaseModel):
    drafts: list[DraftView]


@router.get("")
def drafts(parts: PartsOf) -> DraftList:
    """Agents that are not there yet, oldest first."""
    return DraftList(drafts=parts.approvals.drafts())


@router.get("/{name}")
def draft(parts: PartsOf, name: str) -> DraftView:
    """One draft."""
    return found_draft(parts, name)


@router.delete("/{name}")
async def discard(parts: PartsOf, name: str) -> DraftView:
    """Discard it, and answer with it as it was; its name is free again."""
    found = found_draft(parts, name)
    await parts.commands.command(DiscardDraft(name=found.name))
    return found


@router.post("/{name}/take-over")
async def take_over(parts: PartsOf, name: str) -> DraftView:
    """From now on the operator works on it, and its manager no more."""
    await parts.commands.command(TakeOverDraft(name=found_draft(parts, name).name))
    return found_draft(parts, name)


def found_draft(parts: Parts, name: str) -> DraftView:
    """Raises `NotFound`."""
    found = next((draft for draft in parts.approvals.drafts() if draft.name == name), None)
    if found is None:
        raise NotFound(f"there is no draft of {name[:64]!r}; `hive drafts` lists those there are")
    return found
