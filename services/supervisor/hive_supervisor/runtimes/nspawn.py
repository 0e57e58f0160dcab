"""The `nspawn` runtime: each agent a transient systemd unit that runs systemd-nspawn, driven over D-Bus.

systemd keeps the units when the supervisor is gone. One that ended stays loaded until the next start, so its status is
found whenever somebody comes to ask. What a unit is made of lies in the agent's folder.
"""

import asyncio
import os
import signal as signals
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart, SystemdError, UnitTaken
from hive_supervisor.runtimes import bubblewrap, cgroups, launch, nspawn_unit, unit_control
from hive_supervisor.runtimes.base import (
    ENGINE_ID,
    HARNESS_ID,
    REBOOT,
    Container,
    ContainerExit,
    ContainerSpec,
    Executed,
    Usage,
    User,
)
from hive_supervisor.runtimes.executing import run_bounded
from hive_supervisor.runtimes.log_tail import tail
from hive_supervisor.runtimes.systemd_bus import SYSTEM_BUS, SystemdBus
from hive_supervisor.runtimes.systemd_units import UnitState
from hive_supervisor.runtimes.unit_exits import UnitExits

if TYPE_CHECKING:
    pass

NAME: Final = "nspawn"
PROGRAM: Final = ("/opt/hive/bin/python", "-m", "hive_harness")
TAIL_LINES: Final = 5
START_TIMEOUT_S: Final = 60.0
START_POLL_S: Final = 0.02
NSPAWN_FAILED: Final = 1
"""The exit status of systemd-nspawn when it cannot make the container."""

_KEY_LENGTH: Final = 12
_HARNESS_DEPTH: Final = 2
"""The harness below systemd-nspawn: the container's process 1, and then it."""

_USERS: Final = {User.ENGINE: ENGINE_ID, User.HARNESS: HARNESS_ID, User.ROOT: 0}


class Image(Protocol):
    """`root` is its tree."""

    @property
    def version(self) -> str: ...

    @property
    def root(self) -> Path: ...


FindImage = Callable[[str], Image]
"""The image of a version, or the newest for an empty one. Raises `Refused`."""


class NspawnRuntime:
    """See `ContainerRuntime`. `agents_dir` holds each agent's folder by name; `program` is what runs in a container."""

    name = NAME
    isolation = "systemd-nspawn, each agent with user ids of its own"

    def __init__(
        self,
        agents_dir: Path,
        hive_id: str,
        find_image: FindImage,
        *,
        bus_address: str = SYSTEM_BUS,
        program: Sequence[str] = PROGRAM,
        warning: str = "",
    ) -> None:
        self.warning = warning
        self._agents_dir = agents_dir
        self._key = hive_id[-_KEY_LENGTH:]
        self._find_image = find_image
        self._bus = SystemdBus(bus_address)
        self._program = program
        self._exits = UnitExits(self._bus, self._prefix, self._exit_of)
        self._listed = False

    async def create(self, spec: ContainerSpec) -> None:
        if (await self._state(spec.name)).runs:
            return
        try:
            await asyncio.to_thread(self._create, spec)
        except OSError as error:
            self._forget(spec.name)
            raise CannotStart(f"the container of {spec.name} cannot be made: {error}") from error

    async def start(self, name: str) -> None:
        unit = self._unit(name)
        made = nspawn_unit.read(self._agents_dir / name)
        if made is None:
            raise CannotStart(f"the container of {name} was not created")
        state = await self._bus.state(unit)
        if state.loaded and not state.transient:
            raise CannotStart(
                f"the unit name {unit} is taken by a unit of this machine's; remove it (systemctl cat {unit})"
            )
        if state.runs:
            return
        await self._clear(state)
        try:
            result = await self._bus.start_transient(unit, nspawn_unit.properties(name, made))
        except UnitTaken as error:
            raise CannotStart(f"the unit {unit} is being used by another program on this machine: {error}") from error
        except SystemdError as error:
            raise CannotStart(f"the container of {name} does not start: {error}") from error
        if result != "done" or not await self._came_up(unit):
            await self._clear(await self._bus.state(unit), tell=False)
            said = " / ".join(tail(made.log_file, TAIL_LINES)) or f"systemd says {result}"
            raise CannotStart(f"the container of {name} does not start: {said}")

    async def stop(self, name: str, *, grace_s: float) -> None:
        unit = self._unit(name)
        if not (await self._state(name)).runs:
            return
        await unit_control.stop(self._bus, unit, grace_s=grace_s)

    async def kill(self, name: str, signal: int = signals.SIGKILL) -> None:
        unit, state = self._unit(name), await self._state(name)
        if not state.runs:
            return
        if signal == signals.SIGKILL:
            await unit_control.end(self._bus, unit)
        else:
            unit_control.send(_harness(state), signal)

    async def remove(self, name: str) -> None:
        await self.kill(name)
        await self._clear(await self._state(name))
        await asyncio.to_thread(self._forget, name)

    async def list(self) -> dict[str, Container]:
        units = await self._bus.units(f"{self._prefix}*.service")
        states = {unit: state for unit, state in units.items() if state.transient}
        if not self._listed:
            self._listed = True
            self._exits.begin(states.values())
        for state in states.values():
            self._exits.note(state)
        by_name = {self._name_of(unit): state for unit, state in states.items()}
        created = {folder.name for folder in self._agents_dir.glob("*/") if nspawn_unit.read(folder)}
        return {name: self._container(name, by_name.get(name)) for name in sorted(created | set(by_name))}

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        state = await self._state(name)
        harness = _harness(state)
        if harness is None:
            raise CannotStart(f"the container of {name} does not run")
        words = [*cgroups.entering(harness), *bubblewrap.enter(harness, _USERS[user], command)]
        environment = {"PATH": os.defpath, "HOME": str(nspawn_unit.STATE / "home")}
        return await run_bounded(words, environment, None, timeout_s)

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        made = nspawn_unit.read(self._agents_dir / name)
        return tail(made.log_file, lines) if made else ()

    def watch(self) -> AsyncIterator[ContainerExit]:
        return self._exits.watch()

    async def usage(self, name: str) -> Usage:
        return unit_control.usage(await self._state(name))

    async def newest_image(self) -> str:
        try:
            return (await asyncio.to_thread(self._find_image, "")).version
        except CannotStart:
            return ""

    async def aclose(self) -> None:
        await self._bus.aclose()

    async def _state(self, name: str) -> UnitState:
        """Of our own unit: one that this machine has from a file is none of ours."""
        state = await self._bus.state(self._unit(name))
        return state if state.transient else UnitState(state.name, loaded=False)

    async def _came_up(self, unit: str) -> bool:
        """Whether nspawn got as far as to run the program, which may have ended since."""
        until = time.monotonic() + START_TIMEOUT_S
        while (state := await self._bus.state(unit)).runs:
            if _harness(state):
                return True
            if time.monotonic() > until:
                await self._bus.kill(unit, signals.SIGKILL)
            await asyncio.sleep(START_POLL_S)
        return state.exit_status != NSPAWN_FAILED and time.monotonic() <= until

    @property
    def _prefix(self) -> str:
        return f"hive-{self._key}-"

    def _unit(self, name: str) -> str:
        return f"{self._prefix}{name}.service"

    def _name_of(self, unit: str) -> str:
        return unit.removeprefix(self._prefix).removesuffix(".service") if unit.endswith(".service") else ""

    def _exit_of(self, state: UnitState) -> ContainerExit:
        status = REBOOT if state.exit_status == nspawn_unit.REBOOT_INSIDE else state.exit_status
        return ContainerExit(self._name_of(state.name), status, state.uptime_s, oom=state.out_of_memory)

    def _container(self, name: str, state: UnitState | None) -> Container:
        made = nspawn_unit.read(self._agents_dir / name)
        image = made.image if made else ""
        if state is None:
            return Container(name, running=False, image=image)
        exit_ = self._exit_of(state) if state.has_ended else None
        return Container(name, running=state.runs, since=state.started, image=image, exit=exit_)

    def _create(self, spec: ContainerSpec) -> None:
        if spec.id_base is None:
            raise CannotStart("systemd-nspawn needs root; start the hive as root, or with --runtime process")
        if spec.network is Network.NONE and spec.redis_socket is None:
            raise CannotStart(f"{spec.name} is to have no network, but its Redis is reached over one")
        image = self._find_image(spec.image)
        _check_mount_points(image)
        launch.prepare(spec)
        spec.log_file.touch(mode=0o600)
        made = nspawn_unit.Made(
            command=tuple(nspawn_unit.command(spec, image.root, self._program, machine=f"{self._key}-{spec.name}")),
            image=image.version,
            id_base=spec.id_base,
            log_file=spec.log_file,
            limits=spec.limits,
        )
        nspawn_unit.write(self._agents_dir / spec.name, made)

    def _forget(self, name: str) -> None:
        nspawn_unit.forget(self._agents_dir / name)
        launch.discard(self._agents_dir / name, "run")

    async def _clear(self, state: UnitState, *, tell: bool = True) -> None:
        """Make systemd forget a unit that ended."""
        if not state.loaded or state.runs:
            return
        if tell:
            self._exits.note(state)
        await unit_control.forget(self._bus, state.name)


def _harness(state: UnitState) -> int | None:
    return unit_control.process_in(state, depth=_HARNESS_DEPTH)


def _check_mount_points(image: Image) -> None:
    missing = [str(point) for point in nspawn_unit.MOUNT_POINTS if not (image.root / point.relative_to("/")).is_dir()]
    if missing:
        raise CannotStart(
            f"the image {image.version} is half built or not one of hyperhive's: it lacks {', '.join(missing)}; "
            "make it anew with `hive image build`"
        )
