"""Which container engine runs here, whether it can be used, and what it is good for."""

import asyncio
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hive_contracts.errors import HiveError
from hive_supervisor.errors import EngineAway, EngineLacks
from hive_supervisor.runtimes.docker_api import DockerApi, Engine, why_not_reachable

IMAGE: Final = "hyperhive"
HOW_TO_BUILD: Final = "make it with `hive image build --docker`"
ANSWER_S: Final = 10
MARKS_OF_A_CONTAINER: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))

_MAPPED_ROOT: Final = re.compile(r"(\d+)\.\d+")


async def ask(socket: Path) -> Engine:
    """Raises `EngineAway`."""
    api = DockerApi(socket)
    try:
        async with asyncio.timeout(ANSWER_S):
            return await api.engine()
    except TimeoutError as error:
        raise EngineAway(f"the container engine at {socket} is silent for {ANSWER_S} s; look at its log") from error
    finally:
        await api.aclose()


def own_mounts(socket: Path) -> dict[Path, Path]:
    """Where the folders of the container that this process is in lie on the engine's machine; empty outside of one.

    A supervisor in a container names agents' folders by its own paths; the engine wants the machine's.
    """
    if not any(mark.exists() for mark in MARKS_OF_A_CONTAINER):
        return {}
    return asyncio.run(_mounts_of(socket, platform.node()))


async def _mounts_of(socket: Path, container: str) -> dict[Path, Path]:
    api = DockerApi(socket)
    try:
        found = await api.container(container)
    except EngineLacks:
        return {}  # a container of another engine's
    finally:
        await api.aclose()
    return {mount.destination: mount.source for mount in found.mounts}


def outside(path: Path, mounts: Mapping[Path, Path]) -> Path:
    """`path` of this container as the engine's machine knows it."""
    for inside in sorted(mounts, key=lambda found: -len(found.parts)):
        if path.is_relative_to(inside):
            return mounts[inside] / path.relative_to(inside)
    return path


async def why_not(socket: Path) -> str:
    """Why containers cannot run there, a sentence without its full stop that says what to do; empty when they can."""
    if reason := why_not_reachable(socket):
        return reason
    try:
        engine = await ask(socket)
        if engine.os_type != "linux":
            return f"the container engine at {socket} runs {engine.os_type} containers; switch it to Linux ones"
        if engine.has("rootless"):
            return f"the container engine at {socket} is rootless, which parts no users; use the system's (DOCKER_HOST)"
        return await _why_no_image(socket)
    except HiveError as error:
        return str(error)


async def _why_no_image(socket: Path) -> str:
    api = DockerApi(socket)
    try:
        await api.image(IMAGE)
    except EngineLacks:
        return f"the container engine has no image {IMAGE}; {HOW_TO_BUILD}"
    finally:
        await api.aclose()
    return ""


def mapped_root(engine: Engine) -> int | None:
    """The id that root inside has outside, where the engine maps users; None where ids are the same on both sides."""
    if not engine.has("userns"):
        return None
    found = _MAPPED_ROOT.fullmatch(engine.root_dir.name)
    return int(found[1]) if found else None


def isolation(engine: Engine) -> str:
    mapped = "a user namespace, " if engine.has("userns") else ""
    name = "Podman" if engine.is_podman else "Docker"
    return f"{mapped}users of its own, a read-only image, no capabilities ({name} {engine.version})"


def warning(engine: Engine) -> str:
    """What containers there are not held to; empty when it is nothing."""
    limits = {"memory": engine.limits_memory, "CPU": engine.limits_cpu, "processes": engine.limits_pids}
    found = []
    if missing := [name for name, held in limits.items() if not held]:
        found.append(f"The container engine cannot limit {' and '.join(missing)} here.")
    if not engine.has("seccomp"):
        found.append("The container engine filters no system calls (no seccomp).")
    return " ".join(found)
