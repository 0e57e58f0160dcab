"""Which back-end runs the containers: the one that the settings name, or the strongest that can run here.

A back-end is a module with two functions, in a row of `BACK_ENDS`: `probe` says in one sentence why it cannot run
here, `build` makes it. Both are called in a thread and may take their time, but not for ever.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from hive_runtime.errors import SettingsError
from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.runtimes.base import ContainerRuntime

BACK_ENDS: Final[Mapping[RuntimeChoice, str]] = {
    RuntimeChoice.NSPAWN: "hive_supervisor.runtimes.nspawn_host",
    RuntimeChoice.DOCKER: "hive_supervisor.runtimes.docker",
    RuntimeChoice.PROCESS: "hive_supervisor.runtimes.process",
    RuntimeChoice.NIXOS: "hive_supervisor.runtimes.nixos",
}
"""The strongest first. What stands behind the process runtime, which runs anywhere, is only taken when asked for.

A module is loaded when it is tried, for it may stand on a library that is not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where containers are to run. `hive_id` tells this hive's from those of another on the same machine."""

    data_dir: Path
    config: SupervisorSettings
    hive_id: str


class BackEnd(Protocol):
    """What a module in `BACK_ENDS` offers."""

    def probe(self, place: Place) -> str:
        """Why it cannot run here, as a sentence without its full stop that says what to do; empty when it can."""
        ...

    def build(self, place: Place) -> ContainerRuntime:
        """Raises `CannotStart`."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """`reason`: why this one, for the operator."""

    runtime: ContainerRuntime
    reason: str


def choose(place: Place, back_ends: Mapping[RuntimeChoice, str] = BACK_ENDS) -> Choice:
    """Raises `SettingsError` when the one that the settings name cannot run here, or none can."""
    wanted = place.config.runtime
    if wanted is RuntimeChoice.AUTO:
        return _strongest(place, back_ends)
    if wanted not in back_ends:
        raise SettingsError(f"this version of hyperhive has no {wanted} runtime; it has {', '.join(back_ends)}")
    back_end = _load(back_ends[wanted])
    if reason := _why_not(back_end, place):
        raise SettingsError(f"the runtime is set to {wanted}, but {reason}")
    return Choice(cast("BackEnd", back_end).build(place), "chosen in the settings")


def why_not(name: RuntimeChoice, place: Place) -> str:
    """Why the back-end of that name cannot run here; empty when it can."""
    return _why_not(_load(BACK_ENDS[name]), place)


def build(name: RuntimeChoice, place: Place) -> ContainerRuntime:
    """The back-end of that name, for containers that it made earlier. Raises `CannotStart`, `SettingsError`."""
    back_end = _load(BACK_ENDS[name])
    if isinstance(back_end, ImportError):
        raise SettingsError(_why_not(back_end, place))
    return back_end.build(place)


def _strongest(place: Place, back_ends: Mapping[RuntimeChoice, str]) -> Choice:
    passed: list[str] = []
    for name, module in back_ends.items():
        back_end = _load(module)
        if reason := _why_not(back_end, place):
            passed.append(f"{name}: {reason}")
            continue
        why = f"the strongest that runs here ({'; '.join(passed)})" if passed else "the strongest there is"
        return Choice(cast("BackEnd", back_end).build(place), why)
    raise SettingsError(f"no runtime can run here: {'; '.join(passed)}")


def _load(module: str) -> BackEnd | ImportError:
    try:
        return cast("BackEnd", importlib.import_module(module))
    except ImportError as error:
        return error


def _why_not(back_end: BackEnd | ImportError, place: Place) -> str:
    if isinstance(back_end, ImportError):
        return f"the Python package {back_end.name} is not installed (pip install 'hyperhive[supervisor]')"
    return back_end.probe(place)
