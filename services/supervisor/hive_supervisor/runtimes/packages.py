"""What a container that runs has of the packages that its agent's configuration names."""

from collections.abc import Sequence
from typing import Final

from hive_supervisor.runtimes.base import ContainerRuntime

LOOK_INSIDE_S: Final = 10.0

_LOOK: Final = 'command -v "$1" || dpkg-query -W "$1" || test -e "/run/current-system/sw/bin/$1"'


async def lacking(runtime: ContainerRuntime, name: str, packages: Sequence[str]) -> list[str]:
    """Which of them it has neither as a program nor as a package."""
    found = []
    for package in packages:
        done = await runtime.exec(name, ("sh", "-c", _LOOK, "sh", package), timeout_s=LOOK_INSIDE_S)
        found += [package] if done.status else []
    return found
