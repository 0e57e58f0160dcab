"""`/api/v1/agents/<name>/terminal`: whether the operator's terminal in its container is on. It is used on its page."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from hive_dashboard.api.agents import known
from hive_dashboard.audit import who
from hive_dashboard.parts import PartsOf
from hive_dashboard.terminal import turn

router = APIRouter(prefix="/agents/{name}/terminal", tags=["agents"])


class Switch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    on: bool


@router.get("")
def is_on(parts: PartsOf, name: str) -> Switch:
    """Whether its terminal is on."""
    return Switch(on=parts.terminals.is_on(known(parts, name)))


@router.put("")
async def switch(parts: PartsOf, name: str, wanted: Switch) -> Switch:
    """Turn its terminal on or off; off ends what runs in it."""
    await turn(parts, known(parts, name), on=wanted.on, who=who())
    return wanted
