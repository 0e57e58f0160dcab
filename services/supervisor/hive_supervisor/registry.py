"""What everyone may know of the agents: `hive:agents`, the container field of each state hash, `hive:info`."""

from pathlib import Path
from typing import Final

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, Desired, HiveInfo
from hive_runtime import VERSION
from hive_runtime.bus import Bus
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.containers import engine_of, is_signed_in, model_of
from hive_supervisor.keeper import Keeper
from hive_supervisor.runtimes.choose import Choice
from hive_supervisor.store import Agent

OWN_CHOICE: Final = "chosen for this agent"
"""Why an agent has an engine that is not the hive's."""

KEPT: Final = "destroyed; its state is kept, and comes back with `hive spawn` of the same name"

KEPT_SIGNED_IN: Final = f"{KEPT}; it is signed in"


class Registry:
    """Writes it all; every write may be repeated."""

    def __init__(self, bus: Bus, config: SupervisorSettings, choice: Choice, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._bus = bus
        self._config = config
        self._runtime = choice.runtime
        self._runtime_reason = choice.reason
        self._notices: dict[str, str] = {}

    def record(self, agent: Agent, keeper: Keeper, needs_update: str = "") -> AgentRecord:
        destroyed = keeper.desired is Desired.DESTROYED
        signed_in = destroyed and is_signed_in(agent.name, self._data_dir)
        return AgentRecord(
            name=agent.name,
            role=agent.role,
            engine=engine_of(agent, self._config),
            engine_reason=self._config.engine_reason if agent.engine is None else OWN_CHOICE,
            desired=keeper.desired,
            container=keeper.status,
            container_since=keeper.since,
            detail=keeper.detail or (_kept(signed_in=signed_in) if destroyed else ""),
            restarts=keeper.restarts,
            operation=keeper.operation,
            queued=keeper.queued,
            needs_update=needs_update,
            signed_in=signed_in,
            created_at=agent.created_at,
            number=agent.number,
            id_base=agent.id_base,
            model=model_of(agent, self._config),
            config=agent.config,
        )

    async def publish(self, record: AgentRecord) -> None:
        text = record.model_dump_json()
        await self._bus.hash_set(streams.AGENTS, {record.name: text})
        await self._bus.hash_set(streams.state(record.name), {streams.CONTAINER_FIELD: record.container.value})

    async def withdraw(self, name: str) -> None:
        await self._bus.hash_delete(streams.AGENTS, [name])

    async def note(self, about: str, sentence: str) -> None:
        """Warn the operator on every page, until the same is noted with an empty sentence."""
        if self._notices.get(about, "") != sentence:
            self._notices = {key: text for key, text in self._notices.items() if key != about}
            self._notices |= {about: sentence} if sentence else {}
        await self.publish_info()

    async def publish_info(self) -> None:
        info = HiveInfo(
            runtime=self._runtime.name,
            runtime_reason=self._runtime_reason,
            isolation=self._runtime.isolation,
            warning=" ".join(filter(None, (self._runtime.warning, *self._notices.values()))),
            engine=self._config.engine,
            engine_reason=self._config.engine_reason,
            version=VERSION,
        )
        await self._bus.hash_set(streams.INFO, {streams.INFO_FIELD: info.model_dump_json()})


def _kept(*, signed_in: bool) -> str:
    return KEPT_SIGNED_IN if signed_in else KEPT
