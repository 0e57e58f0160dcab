"""`/api/v1/alerts`: what happened that the operator is to see, and saying that it was seen."""

import asyncio
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from hive_dashboard.parts import PartsOf
from hive_dashboard.store_alerts import AlertKind

router = APIRouter(prefix="/alerts", tags=["alerts"])


class AlertView(BaseModel):
    """`agent` did it, `count` times from `since` to `last`; `peer` is whom it was about, as the agent named it. `over`:
    it has ended by itself. `trace_id`: the conversation that was stopped."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    kind: AlertKind
    agent: str
    reason: str
    since: datetime
    last: datetime
    peer: str
    trace_id: str
    count: int
    over: bool


class AlertList(BaseModel):
    """At most twenty of a kind."""

    alerts: list[AlertView]


@router.get("")
def alerts(parts: PartsOf) -> AlertList:
    """Floods, stopped conversations and refused sends that were not dismissed, the oldest first."""
    return AlertList(alerts=[AlertView.model_validate(one) for one in parts.alerts.all()])


@router.post("/{key}/dismiss")
async def dismiss(parts: PartsOf, key: str) -> AlertView:
    """It was seen; if it happens again it is there again."""
    dismissed = AlertView.model_validate(await asyncio.to_thread(parts.alerts.dismiss, key))
    await parts.snapshots.refresh()
    return dismissed
