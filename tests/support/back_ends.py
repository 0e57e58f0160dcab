"""The back-ends that the conformance suite runs over: each a row of `BACK_ENDS`, made where the test's folder is.

A container of the suite runs `PROGRAM`, so a back-end must let its tests say what runs inside.
"""

import os
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.docker_engine import SMALL_IMAGE, DockerEngine
from tests.support.podman_engine import PodmanEngine

from hive_contracts.ids import new_id
from hive_supervisor.config import Isolation
from hive_supervisor.runtimes import bubblewrap
from hive_supervisor.runtimes.base import ContainerRuntime, ContainerSpec
from hive_supervisor.runtimes.memory import MemoryMachine, MemoryRuntime
from hive_supervisor.runtimes.process import ProcessRuntime

SCRIPT: Final = """
stop() { echo "stopping $TOKEN"; exit 0; }
trap stop TERM
[ -n "$STUBBORN" ] && trap '' TERM
echo "started $TOKEN"
[ -n "$EXIT" ] && exit "$EXIT"
while :; do sleep 600 & wait $!; done
"""
_SYSTEMD_RUNS: Final = Path("/run/systemd/system")
PROGRAM: Final = ("/bin/sh", "-c", SCRIPT)
"""Says `started $TOKEN`; then ends with the status $EXIT if that is set, else on SIGTERM, unless $STUBBORN is set."""


@dataclass(frozen=True, slots=True)
class BackEnd:
    """`runtime` makes a new object over the same containers each time."""

    runtime: Callable[[], ContainerRuntime]
    spec: Callable[..., ContainerSpec]
    """`spec(name, **environment)`."""

    limits_memory: bool = False
    """Whether a container that takes too much is ended, and its exit says so."""

    clean_up: Callable[[], None] = field(default=lambda: None)


Fixture = Callable[[str], Any]
"""Gives what a fixture of that name is."""

Make = Callable[[Path, Fixture], BackEnd]


def spec_in(folder: Path, name: str = "ada", **environment: str) -> ContainerSpec:
    """A container of the suite, its files below `folder`."""
    own = folder / "agents" / name
    own.mkdir(parents=True, exist_ok=True)
    return ContainerSpec(
        name=name,
        state_dir=own / "state",
        run_dir=own / "run",
        log_file=folder / f"{name}.log",
        id_base=0x6000_0000 if os.geteuid() == 0 else None,
        environment={"PATH": os.environ["PATH"], **environment},
        secrets={"redis-password": "secret"},
        readable=tuple(Path(p) for p in {sys.prefix, sys.base_prefix} if not p.startswith("/usr")),
    )


def skip(reason: str) -> None:
    """This machine cannot run it: fails under CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{reason}; install it to run this")


def _memory(folder: Path, _: Fixture) -> BackEnd:
    def program(spec: ContainerSpec) -> int | None:
        return int(spec.environment["EXIT"]) if "EXIT" in spec.environment else None

    machine = MemoryMachine()
    return BackEnd(lambda: MemoryRuntime(machine, program), lambda name, **env: spec_in(folder, name, **env))


def _plain(folder: Path, _: Fixture) -> BackEnd:
    return BackEnd(
        lambda: ProcessRuntime(folder / "agents", Isolation.NONE, program=PROGRAM),
        lambda name, **environment: spec_in(folder, name, **environment),
    )


def _bubblewrap(folder: Path, _: Fixture) -> BackEnd:
    if reason := bubblewrap.why_not():
        skip(reason)
    return BackEnd(
        lambda: ProcessRuntime(folder / "agents", Isolation.BUBBLEWRAP, program=PROGRAM),
        lambda name, **environment: spec_in(folder, name, **environment),
    )


def _nspawn(folder: Path, _: Fixture) -> BackEnd:
    from tests.support.nspawn_host import TreeImage, agent_root  # noqa: PLC0415

    from hive_supervisor.runtimes.nspawn import NspawnRuntime  # noqa: PLC0415  only where systemd runs

    key, root = new_id(), agent_root()
    return BackEnd(
        lambda: NspawnRuntime(folder / "agents", key, lambda _: TreeImage("test", root), program=PROGRAM),
        lambda name, **environment: spec_in(folder, name, **environment),
    )


def _docker(folder: Path, fixture: Fixture) -> BackEnd:
    engine: DockerEngine = fixture("docker")
    hive_id = uuid.uuid4().hex

    def spec(name: str, **environment: str) -> ContainerSpec:
        return replace(spec_in(folder, name, **environment), image=SMALL_IMAGE)

    return BackEnd(
        lambda: engine.runtime(folder / "agents", hive_id=hive_id, program=PROGRAM), spec, limits_memory=True
    )


def _podman(folder: Path, fixture: Fixture) -> BackEnd:
    engine: PodmanEngine = fixture("podman")
    hive_id = uuid.uuid4().hex

    def spec(name: str, **environment: str) -> ContainerSpec:
        return replace(spec_in(folder, name, **environment), image=SMALL_IMAGE)

    found = engine.engine()
    return BackEnd(lambda: engine.runtime(folder / "agents", hive_id=hive_id, engine=found, program=PROGRAM), spec)


BACK_ENDS: Final[Mapping[str, Make]] = {
    "memory": _memory,
    "plain": _plain,
    "bubblewrap": _bubblewrap,
    "docker": _docker,
    "podman": _podman,
    **({"nspawn": _nspawn} if _SYSTEMD_RUNS.is_dir() else {}),
}
"""nspawn where systemd is this machine's process 1; `tests/system/test_nspawn.py` boots such a machine."""
