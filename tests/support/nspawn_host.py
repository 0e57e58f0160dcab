"""What the tests of systemd's back-ends need on a systemd host, and running tests inside one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.debian_roots import derived_root
from tests.support.systemd_host import ROOT, SystemdHost, systemd_host

from hive_supervisor.runtimes.nspawn_unit import MOUNT_POINTS

IMAGE_VARIABLE: Final = "HIVE_TEST_IMAGE"
"""Where the tree of an agent's image is, inside a host that can make none."""

TESTS_S: Final = 600


@dataclass(frozen=True, slots=True)
class TreeImage:
    version: str
    root: Path


def agent_root() -> Path:
    """A tree that agents' containers can be made of: a minimal Debian with Python, without hyperhive."""
    given = os.environ.get(IMAGE_VARIABLE)
    return Path(given) if given else derived_root("agent", ("python3",), _finish)


def _finish(root: Path) -> None:
    for point in MOUNT_POINTS:
        (root / point.relative_to("/")).mkdir(parents=True, exist_ok=True)


@contextmanager
def nspawn_host(*options: str) -> Iterator[SystemdHost]:
    """A systemd host that has an agent's image."""
    with systemd_host(f"--bind-ro={agent_root()}", *options) as host:
        yield host


def run_tests(host: SystemdHost, *arguments: str) -> str:
    """pytest inside the host, on this checkout; what it printed. Fails when one fails, or is skipped, or none ran."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={host.scratch}/pytest"]
    surroundings = [f"{IMAGE_VARIABLE}={agent_root()}", "CI=true", "PYTHONDONTWRITEBYTECODE=1"]
    entered = ["nsenter", "--target=1", "--cgroup"]  # as a service of the host's would see its groups
    done = host.run(
        *entered, "env", f"--chdir={ROOT}", *surroundings, *words, *arguments, check=False, timeout_s=TESTS_S
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-2000:]}"
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
    return done.stdout
