"""All agents: their keepers, and what a keeper needs of the rest of the supervisor."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars

from hive_contracts import streams
from hive_contracts.agents import (
    AgentCreated,
    AgentNeedsUpdate,
    AgentPurged,
    ContainerStatus,
    Desired,
    Role,
)
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import HiveError
from hive_contracts.models import AgentConfig, ModelChanged, RestartPolicy
from hive_contracts.names import MANAGER
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.errors import StoreUnavailable
from hive_supervisor.containers import Premises, files_of, log_file, model_of, spec_for, traces_of
from hive_supervisor.errors import AgentDestroyed, UnknownAgent
from hive_supervisor.host import Origins
from hive_supervisor.keeper import LIST_FAILS, Keeper
from hive_supervisor.life import Life, Throttle
from hive_supervisor.principals import Principals
from hive_supervisor.purge import wipe_all
from hive_supervisor.registry import Registry
from hive_supervisor.reports import misfits, until_ready
from hive_supervisor.runtimes.base import ContainerRuntime, ContainerSpec, Imaged
from hive_supervisor.runtimes.insisting import insist
from hive_supervisor.runtimes.packages import lacking
from hive_supervisor.slots import Slots
from hive_supervisor.store import Agent, NewAgent, SupervisorStore
from hive_supervisor.versions import behind, version_of

SOURCE: Final = "supervisor"
PURGE: Final = "purge"
IMAGE_LOOK_S: Final = 10.0
"""Between looks for a newer image, in seconds."""

log = structlog.get_logger()


class Fleet:
    """`run` owns the keepers' tasks; cancelling it leaves the containers as they are."""

    def __init__(
        self,
        premises: Premises,
        *,
        bus: Bus,
        store: SupervisorStore,
        runtime: ContainerRuntime,
        principals: Principals,
        registry: Registry,
    ) -> None:
        self._premises = premises
        self._bus = bus
        self._store = store
        self._runtime = runtime
        self._principals = principals
        self._registry = registry
        self._keepers: dict[str, Keeper] = {}
        self._agents: dict[str, Agent] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._withdrawn: set[str] = set()
        self._new = asyncio.Event()
        self._image = ""
        self._slots = Slots(premises.config.start_at_once)
        self._behind: dict[str, str] = {}
        self._origins: Origins | None = None
        self._when_purged: Callable[[str], Awaitable[None]] | None = None
        log_file(premises.data_dir, MANAGER).parent.mkdir(parents=True, exist_ok=True)
        with store.unit() as unit:
            unit.add(NewAgent(MANAGER, Role.MANAGER), datetime.now(UTC))
        self.reload()

    def attend(self, origins: Origins, when_purged: Callable[[str], Awaitable[None]]) -> None:
        """Before `run`: who has the configurations, and is told of each purge while it is done."""
        self._origins, self._when_purged = origins, when_purged

    def reload(self) -> None:
        """Take from the store which agents there are and what is wanted of them."""
        for agent in self._store.agents():
            self._agents[agent.name] = agent
            if agent.desired is Desired.PURGED and agent.name not in self._gone:
                self._gone[agent.name] = asyncio.Event()
                if keeping := self._tasks.pop(agent.name, None):
                    keeping.cancel()
                    self._keepers[agent.name].desired = agent.desired
                self._new.set()
            if agent.name not in self._keepers:
                self._keepers[agent.name] = self._keeper(agent)
                self._new.set()

    async def apply(self, name: str, *, restart: str = "", lift: bool = False) -> None:
        """The store changed for `name`: do what it says now. `restart`: what to call it, if it is to be stopped first.
        `lift`: start it even if it crashed too often."""
        is_new = name not in self._keepers
        self.reload()
        if name in self._gone:
            return
        self._keepers[name].want(self._agents[name].desired, restart=restart, lift=lift)
        await self.changed(name)
        if is_new:
            record = self._registry.record(self._agents[name], self._keepers[name])
            await self._registry.publish(record)
            await self.tell(AgentCreated(record=record), name)

    async def tell_model(self, name: str) -> None:
        """Publish which model `name` is to use, and tell its harness, which takes it up between two turns."""
        self.reload()
        await self.changed(name)
        model = model_of(self._agents[name], self._premises.config).name
        fact = Envelope.of(ModelChanged(model=model), source=SOURCE, subject=name)
        await persist(lambda: self._bus.append(streams.control(name), fact))

    def wanted(self, name: str) -> Desired | None:
        """What is wanted of `name`; None when it is nobody's name."""
        return self._agents[name].desired if name in self._agents else None

    def config(self, name: str) -> AgentConfig | None:
        """What the configuration of `name` is; None when it is nobody's name, or a destroyed one's."""
        agent = self._agents.get(name)
        return agent.config if agent and agent.desired.is_there else None

    def kept(self, name: str) -> AgentConfig | None:
        """What the configuration of a destroyed agent was; None when there is none of that name."""
        agent = self._agents.get(name)
        return agent.config if agent and agent.desired is Desired.DESTROYED else None

    async def spawn(self, name: str, description: str, config: AgentConfig) -> ContainerStatus | None:
        """Make it, or bring it back, with exactly this configuration; what its container is once that is settled.

        Nothing new when it is there already. Raises `AgentDestroyed` while it is being wiped.
        """
        with self._store.unit() as unit:
            unit.add(NewAgent(name, Role.AGENT, description=description), datetime.now(UTC))
            if unit.desired(name) is Desired.PURGED:
                raise AgentDestroyed(f"{name} is being wiped now; ask again in a moment")
            unit.configure(name, config)
            unit.want(name, Desired.RUNNING)
        await self.apply(name, lift=True)
        await self.settled(name)
        return self.status(name)

    async def unspawn(self, name: str, kept: AgentConfig | None) -> None:
        """Destroy it again with the configuration that was kept of it, or purge it when nothing was."""
        with self._store.unit() as unit:
            if kept is not None:
                unit.configure(name, kept)
            unit.want(name, Desired.PURGED if kept is None else Desired.DESTROYED)
        await self._apply_if_there(name)

    async def purge(self, name: str) -> None:
        """Returns once nothing of it is left."""
        with self._store.unit() as unit:
            unit.want(name, Desired.PURGED)
        await self._apply_if_there(name)

    async def _apply_if_there(self, name: str) -> None:
        self.reload()
        if name in self._keepers:
            await self.apply(name)
            await self.settled(name)

    async def configure(self, name: str, config: AgentConfig) -> ContainerStatus | None:
        """Give it this configuration, and restart it if it is to run; what its container is once that is settled.

        Raises `UnknownAgent` for one that is there no more.
        """
        with self._store.unit() as unit:
            if not unit.configure(name, config) or name in self._gone:
                raise UnknownAgent(f"there is no agent called {name} any more")
        await self.apply(name, restart="restart", lift=True)
        await self.settled(name)
        return self.status(name)

    async def lacks(self, name: str, packages: Sequence[str]) -> list[str]:
        """Which of them its container, which runs, has neither as a program nor as a package."""
        return await lacking(self._runtime, name, packages)

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        return await self._runtime.logs(name, lines)

    async def has_started_since(self, name: str, when: datetime) -> bool:
        """Whether the container of `name` runs, and was started after `when`."""
        found = (await self._runtime.list()).get(name)
        return bool(found and found.running and found.since and found.since > when)

    def status(self, name: str) -> ContainerStatus | None:
        """What the container of `name` is; None when it is nobody's name."""
        return self._keepers[name].status if name in self._keepers else None

    async def restart(self, name: str) -> None:
        """Its container ends, with its grace, and starts again; what it had not handled stays."""
        await self.apply(name, restart="restart")

    def names(self) -> list[str]:
        """Everyone who is kept."""
        return list(self._keepers)

    async def settled(self, name: str) -> None:
        """Returns once the container of `name` is what is wanted, or has crashed; or once a purge is done."""
        if name in self._gone:
            await self._gone[name].wait()
        elif name in self._keepers:
            await self._keepers[name].settled()

    async def restore(self) -> None:
        """Make users, groups and registry of all agents again. Raises `Unavailable`."""
        for name in self._keepers.keys() - self._gone.keys():
            await self._principals.ensure_agent(name)
            await self.tell_model(name)  # a change may have been cut off between its record and its telling
        await self._registry.publish_info()

    async def run(self) -> None:
        """Keep every agent until cancelled."""
        async with asyncio.TaskGroup() as group:
            await insist(self._runtime.list, LIST_FAILS, self.note)  # from here on every end is told
            group.create_task(self._watch_exits())
            if isinstance(self._runtime, Imaged):
                self._image = await persist(self._runtime.newest_image)
                group.create_task(self._watch_image(self._runtime))
            while True:
                for name in self._keepers.keys() - self._tasks.keys():
                    work = self._purge(name) if name in self._gone else self._keep(name)
                    self._tasks[name] = group.create_task(work, name=f"keeper of {name}")
                await self._new.wait()
                self._new.clear()

    async def _keep(self, name: str) -> None:
        bind_contextvars(agent=name)
        config = self._premises.config
        await self._keepers[name].run(grace_s=config.stop_grace_s, start_timeout_s=config.start_timeout_s)

    async def _purge(self, name: str) -> None:
        """Wipe all that the agent had, in steps that may each be repeated; the store forgets it last."""
        keeper, grace_s = self._keepers[name], self._premises.config.stop_grace_s
        if name not in await persist(lambda: self._bus.hash_all(streams.AGENTS)):
            self._withdrawn.add(name)  # by a supervisor before this one
        await keeper.doing(PURGE, "ends its container")
        fails = f"the container of {name}, which is purged, cannot be removed"
        await insist(lambda: self._runtime.stop(name, grace_s=grace_s), fails, self.note)
        await insist(lambda: self._runtime.remove(name), fails, self.note)
        await keeper.doing(PURGE, "wipes its files")
        await wipe_all(files_of(self._premises.data_dir, name))
        self._withdrawn.add(name)
        await persist(lambda: self._registry.withdraw(name))
        await self.tell(AgentPurged(agent=name), name)
        await persist(lambda: self._principals.remove_agent(name))
        if self._when_purged:
            await persist(partial(self._when_purged, name))
        await wipe_all(traces_of(self._premises.data_dir, name))
        if self._origins is None or not self._origins.keeps(name):
            await wipe_all([self._premises.data_dir / "configs" / f"{name}.git"])
        await persist(partial(self._forget, name))
        log.info("agent purged", agent=name)
        del self._keepers[name], self._agents[name], self._tasks[name]
        self._withdrawn.discard(name)
        self._gone.pop(name).set()

    async def _forget(self, name: str) -> None:
        with self._store.unit() as unit:
            unit.forget(name)

    async def _watch_exits(self) -> None:
        async for exit_ in self._runtime.watch():
            if exit_.name in self._keepers and exit_.name not in self._gone:
                self._keepers[exit_.name].ended(exit_)

    async def _watch_image(self, runtime: Imaged) -> None:
        while True:
            await asyncio.sleep(IMAGE_LOOK_S)
            newest = await persist(runtime.newest_image)
            if newest != self._image:
                log.info("there is a newer image", image=newest)
                self._image = newest
                for name in list(self._keepers):
                    await self.changed(name)

    def _keeper(self, agent: Agent) -> Keeper:
        config = self._premises.config
        return Keeper(
            agent.name,
            agent.desired,
            life=agent.life,
            slots=self._slots,
            throttle=Throttle(config.restart_tries, config.restart_crashes, config.restart_window_s),
            runtime=self._runtime,
            host=self,
        )

    async def prepare(self, name: str) -> ContainerSpec:
        """For a keeper: the agent's user and streams are there, its last account is gone; its spec."""
        password = await persist(lambda: self._principals.fresh_agent(name))
        await persist(lambda: self._bus.hash_delete(streams.state(name), [streams.STATE_FIELD]))
        spec = spec_for(self._agents[name], premises=self._premises, password=password)
        if self._origins is None or spec.state_dir.exists():
            return spec
        return replace(spec, seed=await asyncio.to_thread(self._origins.seed, name))

    async def ready(self, name: str) -> None:
        """For a keeper: returns once the harness has reported a state other than starting. Raises `CannotStart`."""
        await until_ready(self._bus, name)

    async def misfits(self, name: str) -> bool:
        """For a keeper: whether the harness that runs is too old or too new."""
        return await misfits(self._bus, name)

    async def tell(self, payload: Payload, subject: str, *, fact_id: str = "") -> None:
        """For a keeper: a fact for everyone. Told again with the same `fact_id`, it is the same."""
        identity = {"id": fact_id} if fact_id else {}
        fact = Envelope.of(payload, source=SOURCE, subject=subject, **identity)
        await persist(lambda: self._bus.append(streams.EVENTS, fact))

    async def note(self, about: str, sentence: str) -> None:
        """Warn the operator on every page, until the same is noted with an empty sentence."""
        await persist(lambda: self._registry.note(about, sentence))

    async def changed(self, name: str) -> None:
        """For a keeper: publish the record anew."""
        if name not in self._keepers or name in self._withdrawn:
            return
        reason = self.behind(name)
        record = self._registry.record(self._agents[name], self._keepers[name], reason)
        await persist(lambda: self._registry.publish(record))
        if reason and self._behind.get(name) != reason:
            fact_id = f"{name}:needs_update:{self._keepers[name].life.began}:{self._image}"[:128]
            await self.tell(AgentNeedsUpdate(agent=name, reason=reason), name, fact_id=fact_id)
        self._behind[name] = reason

    def policy(self, name: str) -> RestartPolicy:
        """For a keeper: what follows a crash of `name`."""
        return self._agents[name].config.restart

    def is_quarantined(self, name: str) -> bool:
        return name in self._keepers and self._keepers[name].status is ContainerStatus.QUARANTINED

    def keep(self, name: str, life: Life) -> None:
        """For a keeper: the next supervisor finds it."""
        try:
            with self._store.unit() as unit:
                unit.keep_life(name, life)
        except StoreUnavailable as error:
            log.warning("not kept for the next supervisor", agent=name, reason=str(error))

    async def version(self, name: str) -> dict[str, str]:
        """For a keeper: what a container of `name` that starts now is made of."""
        return version_of(self._agents[name], self._premises.config, self._image)

    def behind(self, name: str) -> str:
        """In which way the container of `name` is not up to date; empty when it is, or does not run."""
        keeper = self._keepers[name]
        if keeper.status is not ContainerStatus.RUNNING:
            return ""
        return behind(keeper.life.made_of, version_of(self._agents[name], self._premises.config, self._image))

    def failure(self, name: str) -> str:
        """Why `name` did not get to run; empty when it did, or is still on its way."""
        keeper = self._keepers.get(name)
        return keeper.detail if keeper and keeper.desired is Desired.RUNNING and keeper.failed else ""

    async def stop_all(self) -> None:
        """The whole hive ends: every container, at once, each with its grace. What is wanted of them stays.

        Each that there is is asked, listed or not: somebody may be moving the data directory away.
        Raises nothing: what a back-end does not end is found by the next supervisor.
        """
        running = {name for name, keeper in self._keepers.items() if keeper.status is ContainerStatus.RUNNING}
        try:
            running |= {name for name, one in (await self._runtime.list()).items() if one.running}
        except HiveError as error:
            log.error("containers not listed", reason=str(error))  # noqa: TRY400 - a sentence, not a bug
        for name in running & self._keepers.keys():
            self.keep(name, self._keepers[name].life.stopping())
        await asyncio.gather(*(self._stop(name) for name in running | self._keepers.keys()))

    async def _stop(self, name: str) -> None:
        try:
            await self._runtime.stop(name, grace_s=self._premises.config.stop_grace_s)
        except HiveError as error:
            log.error("container not ended", agent=name, reason=str(error))  # noqa: TRY400 - as above
