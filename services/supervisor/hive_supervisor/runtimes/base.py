"""The protocol of a container back-end."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One agent's container.

    `uid`: the engine's ordinary user inside and outside; None keeps the supervisor's own, for the harness too.
    `harness_uid`: the harness's, where the back-end parts the two; only it can enter `harness_dir`, which is kept.
    `secrets`: file name → content, put where only the harness finds them (`HIVE_SECRETS_DIR`), who removes them.
    `environment` must hold no secret that the agent may not read.
    """

    name: str
    state_dir: Path
    run_dir: Path
    log_file: Path
    uid: int | None = None
    harness_uid: int | None = None
    harness_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    readable: tuple[Path, ...] = ()
    redis_socket: Path | None = None


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """A container ended. `status` is None when nobody could see it; 128 + n means signal n."""

    name: str
    status: int | None
    uptime_s: float

    @property
    def signal(self) -> int | None:
        return self.status - 128 if self.status is not None and 128 < self.status < 193 else None


class ContainerRuntime(Protocol):
    """Containers outlive the runtime object: a new one finds those that an earlier one started."""

    isolation: str
    """One line for the operator: what keeps agents apart."""

    warning: str
    """Empty, or what the operator must know."""

    async def start(self, spec: ContainerSpec) -> None:
        """Start it; nothing to do when it runs. Raises `CannotStart`."""
        ...

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Ask it to end, and after `grace_s` seconds end it. Nothing to do when it does not run."""
        ...

    async def running(self) -> set[str]: ...

    def exits(self) -> AsyncIterator[ContainerExit]:
        """Every end from now on, asked for or not. One reader."""
        ...

    async def aclose(self) -> None:
        """Let go of the containers without ending them."""
        ...
