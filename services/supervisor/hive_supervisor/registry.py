"""What everyone may know of the agents: `hive:agents`, the container field of each state hash, `hive:info`."""

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, HiveInfo
from hive_runtime import VERSION
from hive_runtime.bus import Bus
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.containers import engine_of
from hive_supervisor.keeper import Keeper
from hive_supervisor.runtimes.base import ContainerRuntime
from hive_supervisor.store import Agent


class Registry:
    """Writes it all; every write may be repeated."""

    def __init__(self, bus: Bus, config: SupervisorSettings, runtime: ContainerRuntime) -> None:
        self._bus = bus
        self._config = config
        self._runtime = runtime

    def record(self, agent: Agent, keeper: Keeper) -> AgentRecord:
        return AgentRecord(
            name=agent.name,
            role=agent.role,
            engine=engine_of(agent, self._config),
            engine_reason=self._config.engine_reason if agent.engine is None else "chosen for this agent",
            desired=keeper.desired,
            container=keeper.status,
            container_since=keeper.since,
            detail=keeper.detail,
            restarts=keeper.restarts,
            created_at=agent.created_at,
        )

    async def publish(self, record: AgentRecord) -> None:
        text = record.model_dump_json()
        await self._bus.hash_set(streams.AGENTS, {record.name: text})
        await self._bus.hash_set(streams.state(record.name), {streams.CONTAINER_FIELD: record.container.value})

    async def publish_info(self) -> None:
        info = HiveInfo(
            runtime=self._config.runtime,
            isolation=self._runtime.isolation,
            warning=self._runtime.warning,
            engine=self._config.engine,
            engine_reason=self._config.engine_reason,
            version=VERSION,
        )
        await self._bus.hash_set(streams.INFO, {streams.INFO_FIELD: info.model_dump_json()})
