"""The `docker` runtime: each agent a container of Docker Engine, or of Podman by its compatible socket.

What it knows of containers it asks the engine for each time. Events are only the hint to look again: whoever ran and
runs no more has ended, so an end is told whether its event was seen or not.
"""

import asyncio
import contextlib
import hashlib
import os
import signal as signals
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import structlog

from hive_contracts.errors import HiveError, TimedOut, Unavailable
from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart, EngineAway, EngineConflict, EngineLacks, EngineRefused
from hive_supervisor.runtimes import bubblewrap, docker_host, launch
from hive_supervisor.runtimes.base import (
    OUTPUT_LIMIT,
    Container,
    ContainerExit,
    ContainerRuntime,
    ContainerSpec,
    Executed,
    Usage,
    User,
)
from hive_supervisor.runtimes.docker_api import ContainerInfo, DockerApi, Engine, socket_path
from hive_supervisor.runtimes.docker_config import AGENT, HIVE, LOG, PROGRAM, USERS, Plan, Users
from hive_supervisor.runtimes.docker_ends import DockerEnds
from hive_supervisor.runtimes.log_tail import tail

if TYPE_CHECKING:
    from hive_supervisor.runtimes.choose import Place

NAME: Final = "docker"
KILL_S: Final = 20.0
"""How long an engine may take to end a container that was killed."""

EXEC_S: Final = 10.0
"""How long a command that was ended for its time may take to be gone."""

_TIMED_OUT: Final = (124, 137)

log = structlog.get_logger()


def probe(place: "Place") -> str:
    return asyncio.run(docker_host.why_not(socket_path(os.environ, place.config.docker_socket)))


def build(place: "Place") -> ContainerRuntime:
    socket = socket_path(os.environ, place.config.docker_socket)
    try:
        engine = asyncio.run(docker_host.ask(socket))
    except HiveError as error:
        raise CannotStart(str(error)) from error
    mounts = docker_host.own_mounts(socket)
    return DockerRuntime(place.data_dir / "agents", socket, hive_id=place.hive_id, engine=engine, mounts=mounts)


class DockerRuntime:
    """See `ContainerRuntime`. `agents_dir` holds each agent's folder by name; `program` is what runs in a container.

    `mounts` are those of the container that this process is in, `prefix` begins the names of its own.
    """

    name = NAME

    def __init__(
        self,
        agents_dir: Path,
        socket: Path,
        *,
        hive_id: str,
        engine: Engine,
        program: Sequence[str] = PROGRAM,
        mounts: Mapping[Path, Path] = MappingProxyType({}),
    ) -> None:
        self.isolation = docker_host.isolation(engine)
        self.warning = docker_host.warning(engine)
        self._agents_dir = agents_dir
        self._api = DockerApi(socket)
        self._mapped = docker_host.mapped_root(engine)
        self._is_podman = engine.is_podman
        self._hive_id = hive_id
        self.prefix = f"hive-{hashlib.sha256(hive_id.encode()).hexdigest()[:8]}"
        self._program = tuple(program)
        self._mounts = mounts
        self._ends = DockerEnds(self._api, hive_id)
        self._networking = asyncio.Lock()
        self._in_making: set[str] = set()

    @property
    def shortages(self) -> dict[str, float]:
        """When something in a container ran out of memory last, in seconds since 1970, by the container's id."""
        return self._ends.shortages

    async def create(self, spec: ContainerSpec) -> None:
        present = await self._present(spec.name)
        if present and present.state.running:
            return
        self._in_making.add(spec.name)
        try:
            await self._create(spec, present)
        except (HiveError, OSError) as error:
            await asyncio.to_thread(self._forget_files, spec.name)
            if isinstance(error, Unavailable):
                raise
            raise CannotStart(f"the container of {spec.name} cannot be made: {error}") from error
        finally:
            self._in_making.discard(spec.name)

    async def start(self, name: str) -> None:
        present = await self._present(name)
        if present is None:
            raise CannotStart(f"the container of {name} was not created")
        await self._ends.settle(name)
        if present.state.running:
            self._ends.running(name, present.id)
            return
        run = self._ends.starting(name, present)
        try:
            await self._api.start(present.id)
        except HiveError as error:
            if not isinstance(error, Unavailable):
                self._ends.not_started(name, run)
            raise CannotStart(f"the container of {name} does not start: {error}") from error

    async def stop(self, name: str, *, grace_s: float) -> None:
        present = await self._own(name)
        if present is None or not present.state.running:
            return
        await self._signal(present.id, signals.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._api.ended(present.id)
        except TimeoutError:
            log.warning("container did not end in time, killed", agent=name)
            await self._end(present.id)
        await self._ends.settle(name)

    async def kill(self, name: str, signal: int = signals.SIGKILL) -> None:
        present = await self._own(name)
        if present is None or not present.state.running:
            return
        if signal != signals.SIGKILL:
            await self._signal(present.id, signal)
            return
        await self._end(present.id)
        await self._ends.settle(name)

    async def remove(self, name: str) -> None:
        await self.kill(name)
        if present := await self._own(name):
            with contextlib.suppress(EngineLacks):
                await self._api.remove(present.id)
        await self._remove_networks(name)
        await asyncio.to_thread(self._forget_files, name)

    async def list(self) -> dict[str, Container]:
        found = await self._api.containers({HIVE: self._hive_id})
        infos = await asyncio.gather(*(self._api.find(one.id) for one in found))
        present = {info.labels[AGENT]: info for info in infos if info}
        for name, info in present.items():
            if info.state.running:
                self._ends.running(name, info.id)
        return {name: self._container(name, info) for name, info in sorted(present.items())}

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        present = await self._present(name)
        if present is None or not present.state.running:
            raise CannotStart(f"the container of {name} does not run")
        bounded = ["timeout", "--kill-after=1", f"{timeout_s}", *command]
        began = asyncio.get_running_loop().time()
        whom = Users.of(present.labels[USERS]).words_of(user)
        try:
            async with asyncio.timeout(timeout_s + EXEC_S):
                status, output = await self._api.exec(present.id, bounded, user=whom, limit=OUTPUT_LIMIT)
        except (EngineConflict, EngineLacks) as error:
            raise CannotStart(f"the container of {name} does not run: {error}") from error
        except TimeoutError as error:
            raise TimedOut(f"{command[0]} did not end within {timeout_s:.0f} s") from error
        if status in _TIMED_OUT and asyncio.get_running_loop().time() - began >= timeout_s:
            raise TimedOut(f"{command[0]} did not end within {timeout_s:.0f} s")
        return Executed(status, output.decode(errors="replace"))

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        present = await self._own(name)
        return tail(Path(present.labels[LOG]), lines) if present else ()

    def watch(self) -> AsyncIterator[ContainerExit]:
        return self._ends.watch()

    async def usage(self, name: str) -> Usage:
        present = await self._own(name)
        if present is None or not present.state.running:
            return Usage()
        stats = await self._api.stats(present.id)
        memory = stats.get("memory_stats") or {}
        counted = memory.get("stats") or {}
        cached = counted.get("inactive_file", counted.get("total_inactive_file", 0))
        return Usage(
            memory_bytes=memory["usage"] - cached if "usage" in memory else None,
            cpu_s=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            pids=(stats.get("pids_stats") or {}).get("current"),
        )

    async def newest_image(self) -> str:
        """Its id; empty when there is none of that name."""
        try:
            return (await self._api.image(docker_host.IMAGE)).id
        except EngineLacks:
            return ""

    async def aclose(self) -> None:
        await self._api.aclose()

    async def _create(self, spec: ContainerSpec, present: ContainerInfo | None) -> None:
        image = await self._image(spec)
        network = "none" if spec.network is Network.NONE else await self._network(spec.name)
        inside, outside = self._ids(spec)
        users = _users(inside)
        accounts_dir = self._agents_dir / spec.name / "etc"
        await asyncio.to_thread(self._prepare, outside, inside, accounts_dir)
        plan = Plan(inside, users, image, network, accounts_dir, self._program, self._mounts)
        if present:
            if plan.is_of(present.labels):
                return
            await self._api.remove(present.id)
        labels = {HIVE: self._hive_id, AGENT: spec.name, LOG: str(spec.log_file), USERS: users.words}
        await self._api.create(self._container_name(spec.name), plan.config(labels))

    async def _image(self, spec: ContainerSpec) -> str:
        """The id of the image, so that a container is made anew when its name means another."""
        reference = spec.image or docker_host.IMAGE
        try:
            return (await self._api.image(reference)).id
        except EngineLacks as error:
            raise EngineLacks(f"the container engine has no image {reference}; {docker_host.HOW_TO_BUILD}") from error

    async def _network(self, name: str) -> str:
        """The hive's own, in which containers reach the network, but not each other. Podman lets those of one network
        reach each other, so there it is the agent's own."""
        network = f"{self.prefix}-{name}" if self._is_podman else self.prefix
        apart = {"isolate": "true"} if self._is_podman else {"com.docker.network.bridge.enable_icc": "false"}
        own = {"Driver": "bridge", "Labels": {HIVE: self._hive_id}, "Options": apart}
        async with self._networking:  # an engine would make two of one name
            await self._api.ensure_network(network, own)
        return network

    async def _remove_networks(self, name: str) -> None:
        async with self._networking:
            if self._is_podman:
                await self._remove_network(f"{self.prefix}-{name}")
            elif not self._in_making and not await self._api.containers({HIVE: self._hive_id}):
                await self._remove_network(self.prefix)

    async def _remove_network(self, network: str) -> None:
        with contextlib.suppress(EngineLacks, EngineRefused):
            await self._api.remove_network(network)

    def _ids(self, spec: ContainerSpec) -> tuple[ContainerSpec, ContainerSpec]:
        """The spec with its ids as they are inside, and outside. An engine that maps users has 65,536 for all."""
        if self._mapped is None or spec.id_base is None:
            return spec, spec
        own = 2 * (spec.id_base // 65_536 % 30_000)
        return replace(spec, id_base=own), replace(spec, id_base=self._mapped + own)

    async def _own(self, name: str) -> ContainerInfo | None:
        """None also when another's container has the name: that is left alone."""
        info = await self._api.find(self._container_name(name))
        return info if info and info.labels.get(HIVE) == self._hive_id else None

    async def _present(self, name: str) -> ContainerInfo | None:
        """Raises `CannotStart` when another's container has the name."""
        info = await self._api.find(self._container_name(name))
        if info and info.labels.get(HIVE) != self._hive_id:
            raise CannotStart(
                f"another container has the name {self._container_name(name)}; remove or rename it "
                f"(docker rename {info.id[:12]} NEW-NAME)"
            )
        return info

    def _container_name(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def _container(self, name: str, info: ContainerInfo) -> Container:
        state = info.state
        began = state.started_at if state.started_at.year > 1 else None
        ended = began and not state.running
        return Container(name, state.running, began, info.image, self._ends.exit_of(name, info) if ended else None)

    async def _signal(self, container: str, signal: int) -> None:
        with contextlib.suppress(EngineConflict, EngineLacks):
            await self._api.kill(container, signal)

    async def _end(self, container: str) -> None:
        await self._signal(container, signals.SIGKILL)
        try:
            async with asyncio.timeout(KILL_S):
                await self._api.ended(container)
        except EngineLacks:
            return
        except TimeoutError as error:
            raise EngineAway(f"the container engine did not end {container[:12]} within {KILL_S:.0f} s") from error

    def _prepare(self, outside: ContainerSpec, inside: ContainerSpec, accounts_dir: Path) -> None:
        """The log is opened by the container's first process, before it becomes an ordinary user."""
        launch.prepare(outside)
        bubblewrap.write_accounts(inside, accounts_dir)
        outside.log_file.touch(mode=0o600)
        if self._mapped is not None:
            os.chown(outside.log_file, self._mapped, self._mapped)

    def _forget_files(self, name: str) -> None:
        launch.discard(self._agents_dir / name, "etc", "run")


def _users(inside: ContainerSpec) -> Users:
    """Raises `CannotStart` when it would be root's container."""
    engine = os.geteuid() if inside.uid is None else inside.uid
    if engine == 0:
        raise CannotStart("it has no user ids of its own")
    return Users(engine, inside.harness_uid)
