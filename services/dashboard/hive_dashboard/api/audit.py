"""`/api/v1/audit`: what was done, by whom, and what came of it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hive_dashboard.parts import PartsOf
from hive_dashboard.store_audit import Action

MAX_ROW = 2**63 - 1

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditPage(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing."""

    actions: list[Action]
    next: str | None = None


@router.get("")
def audit(
    parts: PartsOf,
    before: Annotated[int | None, Query(ge=1, le=MAX_ROW)] = None,
    who: Annotated[str | None, Query(max_length=64)] = None,
    target: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """What was done, newest first: all of it, or what `who` did, or what was done to `target`."""
    found = parts.audit.recent(before=before, who=who or None, target=target or None, limit=limit)
    return AuditPage(actions=found, next=found[-1].id if len(found) == limit else None)
