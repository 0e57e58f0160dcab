"""Whether this machine can run agents under systemd-nspawn, and what of it does not hold here."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hive_contracts.errors import HiveError
from hive_runtime import settings
from hive_supervisor.errors import CannotStart
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.images.errors import NoImage
from hive_supervisor.images.store import ImageStore, open_store
from hive_supervisor.runtimes import cgroups
from hive_supervisor.runtimes.base import ContainerRuntime
from hive_supervisor.runtimes.nspawn import FindImage, Image, NspawnRuntime
from hive_supervisor.runtimes.systemd_bus import SystemdBus

if TYPE_CHECKING:
    from hive_supervisor.runtimes.choose import Place

_SYSTEMD_RUNS: Final = Path("/run/systemd/system")
_USER_NAMESPACES: Final = Path("/proc/self/ns/user")
_LIMITED_BY: Final = {"memory": "memory", "cpu": "processors", "pids": "processes"}


def probe(place: "Place") -> str:
    """What is missing first, and what takes longest to look at last."""
    if not _SYSTEMD_RUNS.is_dir():
        return "systemd does not run this machine"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (on Debian: apt install systemd-container dbus)"
    if os.geteuid() != 0:
        return "it needs root; start the hive as root"
    if not _USER_NAMESPACES.exists():
        return "this kernel has no user namespaces"
    try:
        asyncio.run(_answers(place.config.systemd_bus))
        _find_in(_store(place))("")
    except HiveError as error:
        return str(error)
    return ""


def build(place: "Place") -> ContainerRuntime:
    return NspawnRuntime(
        place.data_dir / "agents",
        place.hive_id,
        _find_in(_store(place)),
        bus_address=place.config.systemd_bus,
        warning=unlimited(),
    )


def unlimited() -> str:
    """Which limits do not hold on this machine, as a sentence; empty when all do."""
    missing = [words for name, words in _LIMITED_BY.items() if name not in cgroups.controllers()]
    if not missing:
        return ""
    return (
        f"The limits of agents for {', '.join(missing)} do not hold on this machine: it runs without the unified "
        "cgroup hierarchy (boot it with systemd.unified_cgroup_hierarchy=1)."
    )


def _store(place: "Place") -> ImageStore:
    config = settings.load(ImageSettings, "images", data_dir=place.data_dir, environ=os.environ)
    return open_store(config, place.data_dir)


def _find_in(store: ImageStore) -> FindImage:
    def find(version: str) -> Image:
        try:
            return store.find(version)
        except NoImage as error:
            raise CannotStart(str(error)) from error

    return find


async def _answers(bus_address: str) -> None:
    bus = SystemdBus(bus_address)
    try:
        await bus.units("no-such-unit")
    finally:
        await bus.aclose()
