"""The `nixos` runtime: each agent a NixOS container, `container@NAME.service`, driven over D-Bus as nspawn's are.

NixOS's own unit runs it and brings it back after a reboot of the container (exit status 133), which is no crash.
"""

import asyncio
import json
import os
import shutil
import signal as signals
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart, NoSuchUnit
from hive_supervisor.runtimes import bubblewrap, cgroups, launch, unit_control
from hive_supervisor.runtimes.base import (
    ENGINE_ID,
    HARNESS_ID,
    Container,
    ContainerExit,
    ContainerRuntime,
    ContainerSpec,
    Executed,
    Usage,
    User,
)
from hive_supervisor.runtimes.executing import run_bounded
from hive_supervisor.runtimes.nixos_container import NixosContainer, environment_file
from hive_supervisor.runtimes.systemd_bus import SYSTEM_BUS, SystemdBus
from hive_supervisor.runtimes.systemd_units import UnitState
from hive_supervisor.runtimes.unit_exits import UnitExits

if TYPE_CHECKING:
    from hive_supervisor.runtimes.choose import Place

NAME: Final = "nixos"
LONGEST_NAME: Final = 11
"""The name of a container is part of its network interface's, which has room for no more."""

ENVIRONMENT: Final = "environment"
JOURNAL_TIMEOUT_S: Final = 10
_PREFIX: Final = "container@"
_RECORD: Final = "nixos.json"
_DROP_IN: Final = """\
[Service]
Restart=no
MemoryMax={limits.memory_bytes}
MemorySwapMax=0
CPUQuota={percent}%
TasksMax={limits.pids}
CPUAccounting=yes
"""
"""The supervisor decides what is started again; a reboot of the container NixOS's unit brings back all the same."""

_USERS: Final = {User.ENGINE: ENGINE_ID, User.HARNESS: HARNESS_ID, User.ROOT: 0}


class Definer(Protocol):
    """Makes a container that systemd can start, and removes it. See `NixosContainer`."""

    def define(self, name: str, spec: ContainerSpec, flake: str) -> None: ...

    def destroy(self, name: str) -> None: ...


def probe(place: "Place") -> str:
    del place
    if shutil.which("nixos-container") is None:
        return "this machine is not NixOS (there is no nixos-container)"
    return "" if os.geteuid() == 0 else "NixOS containers need root; start the hive as root"


def build(place: "Place") -> ContainerRuntime:
    return NixosRuntime(
        place.data_dir / "agents", NixosContainer(), place.config.nixos_flake, bus_address=place.config.systemd_bus
    )


class NixosRuntime:
    """See `ContainerRuntime`. A container is this hive's if the agent's folder says that it was made for it.

    `flake`: what a container is made of unless its spec says so; `{agent}` in it stands for the agent's name.
    """

    name = NAME
    isolation = "NixOS containers, each agent with user ids of its own"
    warning = ""

    def __init__(self, agents_dir: Path, definer: Definer, flake: str = "", *, bus_address: str = SYSTEM_BUS) -> None:
        self._agents_dir = agents_dir
        self._flake = flake
        self._definer = definer
        self._bus = SystemdBus(bus_address)
        self._exits = UnitExits(self._bus, _PREFIX, _exit_of)
        self._listed = False

    async def create(self, spec: ContainerSpec) -> None:
        state = await self._bus.state(_unit(spec.name))
        known = self._is_made(spec.name)
        if state.runs and known:
            return
        if state.runs:
            raise CannotStart(f"this machine has a container {spec.name} of its own; give the agent another name")
        try:
            await asyncio.to_thread(self._create, spec)
        except OSError as error:
            raise CannotStart(f"the container of {spec.name} cannot be made: {error}") from error
        await self._bus.reload()

    async def start(self, name: str) -> None:
        self._check_made(name)
        unit = _unit(name)
        state = await self._bus.state(unit)
        if state.runs:
            return
        self._exits.note(state)
        await self._bus.reset_failed(unit)
        try:
            result = await self._bus.start(unit)
        except NoSuchUnit as error:
            raise CannotStart(f"this machine has no {_PREFIX}.service; is it NixOS? {error}") from error
        if result != "done":
            said = " / ".join(await self.logs(name, 5)) or f"systemd says {result}"
            raise CannotStart(f"the container of {name} does not start: {said}")

    async def stop(self, name: str, *, grace_s: float) -> None:
        if (await self._state(name)).runs:
            await unit_control.stop(self._bus, _unit(name), grace_s=grace_s)

    async def kill(self, name: str, signal: int = signals.SIGKILL) -> None:
        state = await self._state(name)
        if not state.runs:
            return
        if signal == signals.SIGKILL:
            await unit_control.end(self._bus, state.name)
        else:
            unit_control.send(_first(state), signal)

    async def remove(self, name: str) -> None:
        if not self._is_made(name):
            return
        await self.kill(name)
        await unit_control.forget(self._bus, _unit(name))
        await asyncio.to_thread(self._definer.destroy, name)
        await asyncio.to_thread(shutil.rmtree, _drop_in(name).parent, ignore_errors=True)
        await self._bus.reload()
        (self._agents_dir / name / _RECORD).unlink(missing_ok=True)
        await asyncio.to_thread(launch.discard, self._agents_dir / name, "run")

    async def list(self) -> dict[str, Container]:
        names = sorted(path.parent.name for path in self._agents_dir.glob(f"*/{_RECORD}"))
        states = {name: await self._bus.state(_unit(name)) for name in names}
        if not self._listed:
            self._listed = True
            self._exits.begin(states.values())
        for state in states.values():
            self._exits.note(state)
        return {name: _container(name, state) for name, state in states.items()}

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        first = _first(await self._state(name))
        if first is None:
            raise CannotStart(f"the container of {name} does not run")
        words = [*cgroups.entering(first), *bubblewrap.enter(first, _USERS[user], command)]
        return await run_bounded(words, {"PATH": f"/run/current-system/sw/bin:{os.defpath}"}, None, timeout_s)

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        """From the journal, where NixOS's unit prints."""
        if not self._is_made(name):
            return ()
        words = ["journalctl", f"--unit={_unit(name)}", f"--lines={lines}", "--output=cat", "--quiet", "--no-pager"]
        done = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=JOURNAL_TIMEOUT_S, check=False
        )
        return tuple(done.stdout.splitlines()[-lines:])

    async def watch(self) -> AsyncIterator[ContainerExit]:
        async for end in self._exits.watch():
            if self._is_made(end.name):
                yield end

    async def usage(self, name: str) -> Usage:
        return unit_control.usage(await self._state(name))

    async def aclose(self) -> None:
        await self._bus.aclose()

    async def _state(self, name: str) -> UnitState:
        return await self._bus.state(_unit(name)) if self._is_made(name) else UnitState(_unit(name), loaded=False)

    def _is_made(self, name: str) -> bool:
        return (self._agents_dir / name / _RECORD).exists()

    def _check_made(self, name: str) -> None:
        if not self._is_made(name):
            raise CannotStart(f"the container of {name} was not created")

    def _create(self, spec: ContainerSpec) -> None:
        if len(spec.name) > LONGEST_NAME:
            raise CannotStart(
                f"{spec.name} is too long a name for a NixOS container: at most {LONGEST_NAME} characters"
            )
        if spec.id_base is None:
            raise CannotStart("NixOS containers need root; start the hive as root")
        if spec.network is Network.NONE and spec.redis_socket is None:
            raise CannotStart(f"{spec.name} is to have no network, but its Redis is reached over one")
        launch.prepare(spec)
        environment = spec.run_dir / ENVIRONMENT
        environment.write_text(environment_file(spec), encoding="utf-8")
        environment.chmod(0o644)
        flake = spec.image or self._flake.replace("{agent}", spec.name)
        self._definer.define(spec.name, spec, flake)
        drop_in = _drop_in(spec.name)
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(_DROP_IN.format(limits=spec.limits, percent=round(spec.limits.cpus * 100)))
        (self._agents_dir / spec.name / _RECORD).write_text(json.dumps({"image": flake}))


def _unit(name: str) -> str:
    return f"{_PREFIX}{name}.service"


def _drop_in(name: str) -> Path:
    return Path("/run/systemd/system", f"{_unit(name)}.d", "50-hyperhive.conf")


def _exit_of(state: UnitState) -> ContainerExit:
    name = state.name.removeprefix(_PREFIX).removesuffix(".service")
    return ContainerExit(name, state.exit_status, state.uptime_s, oom=state.out_of_memory)


def _container(name: str, state: UnitState) -> Container:
    exit_ = _exit_of(state) if state.has_ended else None
    return Container(name, running=state.runs, since=state.started, exit=exit_)


def _first(state: UnitState) -> int | None:
    """Process 1 of the container."""
    return unit_control.process_in(state, depth=1)
