"""`/api/v1/kept`: what is kept of destroyed agents; and of any agent, what a purge would wipe."""

import asyncio
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from hive_dashboard.api.agents import known
from hive_dashboard.kept import Kept, kept_of, measured
from hive_dashboard.parts import PartsOf

router = APIRouter(tags=["agents"])


class KeptView(BaseModel):
    """`size` in bytes; `more`: there is more than was counted. `since`: when it was destroyed, or its container's state
    changed last."""

    name: str
    size: int
    more: bool
    since: datetime
    signed_in: bool
    unread: int


class KeptList(BaseModel):
    kept: list[KeptView]


@router.get("/kept")
async def kept(parts: PartsOf) -> KeptList:
    """What is kept of destroyed agents."""
    found = await asyncio.to_thread(kept_of, parts.snapshots.current.agents, parts.data_dir)
    return KeptList(kept=[_view(one) for one in found])


@router.get("/agents/{name}/kept")
async def of_agent(parts: PartsOf, name: str) -> KeptView:
    """What there is of one agent: what a purge would wipe."""
    return _view(await asyncio.to_thread(measured, known(parts, name), parts.data_dir))


def _view(kept: Kept) -> KeptView:
    agent = kept.agent
    return KeptView(
        name=agent.name,
        size=kept.size,
        more=kept.more,
        since=agent.container_since,
        signed_in=agent.signed_in,
        unread=agent.unread,
    )
