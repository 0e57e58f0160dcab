"""`/api/v1/agents`: the agents, what each says and did, and the commands that make, start and stop them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hive_contracts.agents import (
    AgentState,
    DestroyAgent,
    Engine,
    RebuildAgent,
    RestartAgent,
    SpawnAgent,
    StartAgent,
    StopAgent,
)
from hive_contracts.errors import NotFound, TimedOut
from hive_contracts.messages import MessageView
from hive_contracts.models import AgentConfig, SetModel, wanted_model
from hive_contracts.names import check_agent_name
from hive_dashboard.parts import Parts, PartsOf
from hive_dashboard.registry import AgentView

VERBS = {"start": StartAgent, "stop": StopAgent, "restart": RestartAgent, "rebuild": RebuildAgent}

router = APIRouter(prefix="/agents", tags=["agents"])


class AgentList(BaseModel):
    """`next`: give it as `after` for those that follow; null when there are none."""

    agents: tuple[AgentView, ...]
    next: str | None = None


class EventView(BaseModel):
    """`id` is a cursor for `before` and `after`; `data` was written by the agent's container."""

    id: str
    time: datetime
    type: str
    turn_id: str
    seq: int
    data: dict[str, Any]


class EventList(BaseModel):
    """`next`: give it as `before`, or as `after` if that was asked with, for more; null when there is nothing."""

    events: list[EventView]
    next: str | None = None


class MessageList(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing."""

    messages: list[MessageView]
    next: str | None = None


class NewAgent(BaseModel):
    name: str = Field(max_length=100)
    description: str = Field(default="", max_length=500)
    engine: Engine | None = None
    config: AgentConfig = Field(default_factory=AgentConfig)


class Destroyed(BaseModel):
    """`kept`: its state is there, and `spawn` of the same name revives it."""

    name: str
    kept: bool


class WantedModel(BaseModel):
    model: str | None = Field(default=None, max_length=100)


@router.get("")
async def agents(
    parts: PartsOf,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> AgentList:
    """All agents: the manager first, then by name; `after` an agent's name."""
    found = list(parts.snapshots.known().agents)
    start = next((place for place, one in enumerate(found, 1) if one.name == after), 0)
    page = found[start : start + limit]
    return AgentList(agents=tuple(page), next=page[-1].name if start + limit < len(found) else None)


@router.post("", status_code=HTTPStatus.CREATED)
async def spawn(parts: PartsOf, new: NewAgent) -> AgentView:
    """Make an agent; answers when the supervisor has."""
    name = check_agent_name(new.name)
    spawn = SpawnAgent(name=name, description=new.description, engine=new.engine, config=new.config)
    await parts.commands.command(spawn)
    return await _after_command(parts, name)


@router.delete("/{name}")
async def destroy(parts: PartsOf, name: str, *, purge: bool = False) -> Destroyed:
    """Stop it for good; `purge` wipes its state, streams, events and credentials too."""
    known(parts, name)
    await parts.commands.command(DestroyAgent(name=name, purge=purge))
    await parts.snapshots.refresh(states=True)
    return Destroyed(name=name, kept=not purge)


@router.get("/{name}")
async def agent(parts: PartsOf, name: str) -> AgentView:
    """One agent: its record, and what its harness says of itself."""
    return known(parts, name)


@router.get("/{name}/state")
async def state(parts: PartsOf, name: str) -> AgentState:
    """What its harness says of itself: state, model, context, cost."""
    found = known(parts, name).state
    if found is None:
        raise NotFound(f"{name} has not said anything of itself yet; look again when it runs")
    return found


@router.get("/{name}/events")
def events(
    parts: PartsOf,
    name: str,
    before: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> EventList:
    """What it did, event by event, oldest first; without a cursor the newest."""
    found = parts.events(known(parts, name).name).page(before=before, after=after, limit=limit)
    following = (found[-1].id if after else found[0].id) if len(found) == limit else None
    return EventList(
        next=following,
        events=[EventView(id=e.id, time=e.time, type=e.type, turn_id=e.turn_id, seq=e.seq, data=e.data) for e in found],
    )


@router.get("/{name}/inbox")
def inbox(
    parts: PartsOf,
    name: str,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> MessageList:
    """Its messages, newest first, `before` a message's id. `operator` has an inbox too."""
    if name != "operator":
        known(parts, name)
    return message_page(parts.messages.inbox(name, before=before, limit=limit), limit)


@router.post("/{name}/model")
async def set_model(parts: PartsOf, name: str, wanted: WantedModel) -> AgentView:
    """Override its model from its next turn on; without one the override is taken away."""
    known(parts, name)
    await parts.commands.command(SetModel(name=name, model=wanted_model(wanted.model or "")))
    return await _after_command(parts, name)


@router.post("/{name}/{verb}")
async def act(parts: PartsOf, name: str, verb: Literal["start", "stop", "restart", "rebuild"]) -> AgentView:
    """Start, stop, restart or rebuild its container; answers when that is done."""
    known(parts, name)
    await parts.commands.command(VERBS[verb](name=name))
    return await _after_command(parts, name)


def message_page(found: list[MessageView], limit: int) -> MessageList:
    return MessageList(messages=found, next=found[-1].id if len(found) == limit else None)


def known(parts: Parts, name: str) -> AgentView:
    found = parts.snapshots.find(name)
    if found is None:
        raise NotFound(f"there is no agent called {name[:64]!r}; `hive agents` lists those there are")
    return found


async def _after_command(parts: Parts, name: str) -> AgentView:
    found = (await parts.snapshots.refresh(states=True)).agent(name)
    if found is None:
        raise TimedOut(f"the supervisor is done with {name}, but the registry does not show it; run `hive agents`")
    return found
