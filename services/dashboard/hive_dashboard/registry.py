"""What Redis says of agents, services and the hive, as the dashboard shows it."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, AgentState, ContainerStatus, HiveInfo, ServiceBeat
from hive_runtime.bus import Bus

BEAT_LIFETIME: Final = timedelta(seconds=15)

log = structlog.get_logger()


class AgentView(AgentRecord):
    """An agent as pages and API give it. `state` is the container's own word and untrusted, the rest is the host's.

    `task`: the beginning of the message that its turn is about. `turns`: how many in each of the last hours.
    """

    unread: int = 0
    task: str = ""
    turns: tuple[int, ...] = ()
    state: AgentState | None = None

    @property
    def running(self) -> bool:
        return self.container is ContainerStatus.RUNNING


class ServiceView(BaseModel):
    model_config = ConfigDict(frozen=True)

    service: str
    pid: int
    version: str
    started_at: datetime
    alive: bool
    warning: str = ""


async def read_agents(bus: Bus) -> dict[str, AgentView]:
    found = {}
    for name, text in (await bus.hash_all(streams.AGENTS)).items():
        try:
            found[name] = AgentView.model_validate(AgentRecord.read(text).model_dump() | {"name": name})
        except ValidationError:
            log.warning("registry entry is malformed", agent=name)
    return found


async def read_state(bus: Bus, agent: str) -> AgentState | None:
    """None when the harness has not spoken yet, or not in a way that can be read."""
    text = (await bus.hash_all(streams.state(agent))).get(streams.STATE_FIELD)
    if text is None:
        return None
    try:
        return AgentState.model_validate_json(text).model_copy(update={"agent": agent})
    except ValidationError:
        log.warning("state is malformed", agent=agent)
        return None


async def read_services(bus: Bus, now: datetime) -> tuple[ServiceView, ...]:
    """By name. A beat older than `BEAT_LIFETIME` is that of a service which died or hangs."""
    found = []
    for name, text in sorted((await bus.hash_all(streams.SERVICES)).items()):
        try:
            beat = ServiceBeat.model_validate_json(text)
        except ValidationError:
            log.warning("beat is malformed", of=name)
            continue
        facts = beat.model_dump(include={"pid", "version", "started_at", "warning"})
        found.append(ServiceView(service=name, alive=now - beat.at < BEAT_LIFETIME, **facts))
    return tuple(found)


async def read_info(bus: Bus) -> HiveInfo | None:
    text = (await bus.hash_all(streams.INFO)).get(streams.INFO_FIELD)
    try:
        return HiveInfo.model_validate_json(text) if text else None
    except ValidationError:
        log.warning("hive info is malformed")
        return None
