"""Containers of agents that this machine has, whichever back-end made them and whichever hive's they are."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from hive_contracts.errors import Unavailable
from hive_supervisor.config import RuntimeChoice
from hive_supervisor.doctor.site import Site
from hive_supervisor.runtimes import docker, process, shim
from hive_supervisor.runtimes.base import ContainerRuntime
from hive_supervisor.runtimes.choose import Place
from hive_supervisor.runtimes.docker_api import DockerApi, socket_path, why_not_reachable
from hive_supervisor.runtimes.docker_config import AGENT, HIVE

NIXOS_RECORD: Final = "nixos.json"
SYSTEMD: Final = Path("/run/systemd/system")
_UNIT: Final = re.compile(r"hive-(?P<hive>[0-9a-z]{12})-(?P<agent>[a-z0-9][a-z0-9_-]*)\.service")


@dataclass(frozen=True, slots=True)
class Sighting:
    """`place`: the back-end. `what`: what it is called there. `hive`: the end of the id of the hive that made it.
    `by_hand`: how one removes it. `remove` does, and may be repeated."""

    agent: str
    place: str
    what: str
    hive: str
    runs: bool
    by_hand: str
    remove: Callable[[], Coroutine[Any, Any, None]]


def seen(site: Site) -> list[Sighting]:
    """What a back-end that does not answer has is not known; `runtimes` tells why it does not."""
    found = list(_processes(site))
    for look in (_in_docker, _in_units, _in_nixos):
        try:
            found += asyncio.run(look(site))
        except Unavailable:
            continue
    return found


async def _in_docker(site: Site) -> list[Sighting]:
    socket = socket_path(site.environ, site.config.docker_socket)
    if why_not_reachable(socket):
        return []
    async with aclosing(DockerApi(socket)) as api:
        listed = [(one.id, one.labels or {}) for one in await api.containers({})]
        return [
            Sighting(
                labels[AGENT],
                docker.NAME,
                f"the container {container[:12]}",
                labels[HIVE],
                (await api.container(container)).state.running,
                f"docker rm --force {container[:12]}",
                partial(_remove_container, socket, container),
            )
            for container, labels in listed
            if HIVE in labels and AGENT in labels
        ]


async def _remove_container(socket: Path, container: str) -> None:
    async with aclosing(DockerApi(socket)) as api:
        await api.remove(container)


async def _in_units(site: Site) -> list[Sighting]:
    """Those that systemd-nspawn runs in: transient ones, or a unit of that name is none of ours."""
    if not SYSTEMD.is_dir() and site.config.runtime is not RuntimeChoice.NSPAWN:
        return []
    try:
        from hive_supervisor.runtimes.systemd_bus import SystemdBus  # noqa: PLC0415  a library that may not be there
    except ImportError:
        return []
    async with aclosing(SystemdBus(site.config.systemd_bus)) as bus:
        units = await bus.units("hive-*.service")
    return [
        Sighting(
            found["agent"],
            RuntimeChoice.NSPAWN.value,
            f"the unit {unit}",
            found["hive"],
            state.runs,
            f"systemctl kill --signal=KILL {unit}; systemctl reset-failed {unit}",
            partial(_remove_unit, site.config.systemd_bus, unit),
        )
        for unit, state in units.items()
        if state.transient and (found := _UNIT.fullmatch(unit))
    ]


async def _remove_unit(address: str, unit: str) -> None:
    from hive_supervisor.runtimes import unit_control  # noqa: PLC0415  as above
    from hive_supervisor.runtimes.systemd_bus import SystemdBus  # noqa: PLC0415

    async with aclosing(SystemdBus(address)) as bus:
        if (await bus.state(unit)).runs:
            await unit_control.end(bus, unit)
        await unit_control.forget(bus, unit)


async def _in_nixos(site: Site) -> list[Sighting]:
    """By the records in this hive's own folders, as of processes."""
    if not any((site.data_dir / "agents").glob(f"*/{NIXOS_RECORD}")):
        return []
    async with aclosing(_nixos(site)) as runtime:
        found = await runtime.list()
    return [
        Sighting(
            name,
            RuntimeChoice.NIXOS.value,
            f"the container {name}",
            own_id(site.data_dir),
            one.running,
            f"nixos-container destroy {name}",
            partial(_remove_from_nixos, site, name),
        )
        for name, one in found.items()
    ]


async def _remove_from_nixos(site: Site, name: str) -> None:
    async with aclosing(_nixos(site)) as runtime:
        await runtime.remove(name)


def _nixos(site: Site) -> ContainerRuntime:
    from hive_supervisor.runtimes import nixos  # noqa: PLC0415  as above

    return nixos.build(Place(site.data_dir, site.config, own_id(site.data_dir)))


def _processes(site: Site) -> Iterator[Sighting]:
    """They are found by what lies in this hive's own folders; of another hive's nothing is known."""
    own = own_id(site.data_dir)
    for folder in sorted((site.data_dir / "agents").glob("*/")):
        if running := shim.find(folder):
            what, by_hand = f"the process {running.pid}", f"kill -KILL -- -{running.pid}"
            yield Sighting(folder.name, process.NAME, what, own, True, by_hand, partial(_end, running))


async def _end(running: shim.Shim) -> None:
    running.end()
    running.kill()


def own_id(data_dir: Path) -> str:
    """The hive's; empty when it has none yet."""
    path = data_dir / "hive.id"
    return path.read_text().strip() if path.is_file() else ""
