"""`/api/v1/agents/<name>/…`: what a running agent is told. Each answers when its harness has done it."""

from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from hive_contracts.control import (
    MAX_NAP_S,
    BeginLogin,
    CancelTurn,
    CompactAgent,
    NapAgent,
    NewSession,
    PauseAgent,
    ResumeAgent,
    WakeAgent,
)
from hive_contracts.envelope import Payload
from hive_contracts.errors import Refused
from hive_dashboard.api.agents import known
from hive_dashboard.control import LOGIN_S, login_code, sign_in_host, tell
from hive_dashboard.parts import Parts, PartsOf
from hive_dashboard.registry import AgentView

COMPACT_S: Final = 900.0
"""A model reads a whole conversation and sums it up."""

router = APIRouter(prefix="/agents", tags=["agents"])


class Cancel(BaseModel):
    """`turn_id`: only if it is still this turn that runs."""

    turn_id: str = Field(default="", max_length=64)


class Compact(BaseModel):
    """`notes`: those instead of the conversation."""

    notes: bool = False


class Compacted(BaseModel):
    """What came of it, in the harness's words: sizes before and after; `{"after": "turn"}`: it is done then."""

    agent: AgentView
    result: dict[str, Any]


class LoginLink(BaseModel):
    """Where to sign in: as the container says, so look at the host before you do."""

    url: str


class LoginCode(BaseModel):
    code: str = Field(min_length=1, max_length=2000, repr=False)


class Nap(BaseModel):
    seconds: float = Field(gt=0, le=MAX_NAP_S)


@router.post("/{name}/cancel")
async def cancel(parts: PartsOf, name: str, wanted: Cancel | None = None) -> AgentView:
    """End its turn for good; answers when the messages of the turn are acknowledged."""
    return await _told(parts, name, CancelTurn(turn_id=wanted.turn_id if wanted else ""))


@router.post("/{name}/pause")
async def pause(parts: PartsOf, name: str) -> AgentView:
    """Its turn goes on to the end; what comes then waits."""
    return await _told(parts, name, PauseAgent())


@router.post("/{name}/resume")
async def resume(parts: PartsOf, name: str) -> AgentView:
    """End a pause."""
    return await _told(parts, name, ResumeAgent())


@router.post("/{name}/nap")
async def nap(parts: PartsOf, name: str, wanted: Nap) -> AgentView:
    """Begin no turn for so long; an urgent message, or `wake`, ends it."""
    return await _told(parts, name, NapAgent(seconds=wanted.seconds))


@router.post("/{name}/wake")
async def wake(parts: PartsOf, name: str) -> AgentView:
    """End its nap, or its wait for another try."""
    return await _told(parts, name, WakeAgent())


@router.post("/{name}/compact")
async def compact(parts: PartsOf, name: str, wanted: Compact | None = None) -> Compacted:
    """Shorten its conversation; answers when that is done, or at once while a turn runs."""
    payload = CompactAgent(notes=wanted.notes if wanted else False)
    result = await tell(parts.commands, known(parts, name), payload, within_s=COMPACT_S)
    await parts.snapshots.refresh()
    return Compacted(agent=known(parts, name), result=result)


@router.post("/{name}/login")
async def login(parts: PartsOf, name: str) -> LoginLink:
    """Start its engine's own login."""
    result = await tell(parts.commands, known(parts, name), BeginLogin(), within_s=LOGIN_S)
    url = str(result.get("url", ""))
    if not sign_in_host(url):
        raise Refused(f"the container shows a link that does not lead to the provider; do not follow it: {url[:300]}")
    return LoginLink(url=url)


@router.post("/{name}/login-code")
async def give_login_code(parts: PartsOf, name: str, wanted: LoginCode) -> AgentView:
    """Give its engine's login the code that the sign-in page showed; answers when it is signed in."""
    await tell(parts.commands, known(parts, name), login_code(wanted.code), within_s=LOGIN_S)
    await parts.snapshots.refresh()
    return known(parts, name)


@router.post("/{name}/new-session")
async def new_session(parts: PartsOf, name: str) -> AgentView:
    """Its next turn begins with an empty conversation."""
    return await _told(parts, name, NewSession())


async def _told(parts: Parts, name: str, payload: Payload) -> AgentView:
    """Do it; the agent as it is then. Its new state came before the answer, in the same stream."""
    await tell(parts.commands, known(parts, name), payload)
    await parts.snapshots.refresh()
    return known(parts, name)
