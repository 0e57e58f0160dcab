"""A store without agents beside a registry that has some: the store was lost. The registry tells what was in it."""

from collections.abc import Iterator, Mapping
from typing import Final

import structlog
from pydantic import ValidationError

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, ContainerStatus
from hive_contracts.models import ModelSource
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_supervisor.life import Life
from hive_supervisor.registry import OWN_CHOICE
from hive_supervisor.store import Agent, SupervisorStore

BROUGHT_BACK: Final = "the agents, from hive:agents; not their descriptions, nor which commands were answered"

log = structlog.get_logger()


async def recover(store: SupervisorStore, bus: Bus) -> None:
    """Bring the agents of an empty store back: each with its number, for its files belong to the user counted from it.

    Waits for Redis. In a new hive there is nothing to bring back.
    """
    if store.agents():
        return
    agents = sorted(_agents(await persist(lambda: bus.hash_all(streams.AGENTS))), key=_numbered_first)
    with store.unit() as unit:
        for agent in agents:
            unit.bring_back(agent)
    if agents:
        log.error("agents were lost, brought back from the registry", agents=[agent.name for agent in agents])


def _agents(registry: Mapping[str, str]) -> Iterator[Agent]:
    for name, text in registry.items():
        try:
            record = AgentRecord.model_validate_json(text)
        except ValidationError:
            log.warning("registry entry cannot be read", agent=name)
            continue
        engine = record.engine if record.engine_reason == OWN_CHOICE else None
        overridden = record.model.source is ModelSource.OVERRIDE
        yield Agent(
            record.number,
            record.name,
            record.role,
            engine,
            record.desired,
            record.created_at,
            record.config,
            model_override=record.model.name if overridden else None,
            model_set_at=record.model.override_since if overridden else None,
            id_base=record.id_base or 0,
            life=Life(quarantine=record.detail if record.container is ContainerStatus.QUARANTINED else ""),
        )


def _numbered_first(agent: Agent) -> tuple[bool, int]:
    return agent.number == 0, agent.number
