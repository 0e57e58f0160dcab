"""The protocol of a container back-end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from signal import SIGKILL
from typing import Final, Protocol, runtime_checkable

from hive_contracts.models import Network

REBOOT: Final = 133
"""The exit status of a container that asks to be started anew; systemd-nspawn's own word for it."""

IDS: Final = 65_536
"""How many user ids an agent has on the machine."""

ENGINE_ID: Final = 1000
HARNESS_ID: Final = 1001
"""The two users' ids in a user namespace, and how far they are from `id_base` outside."""

OUTPUT_LIMIT: Final = 65_536
"""So many bytes of what an `exec` printed are kept, the last."""


class User(StrEnum):
    """As whom something runs inside. Not every back-end has a `ROOT` there."""

    ENGINE = "engine"
    HARNESS = "harness"
    ROOT = "root"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one container may take. `cpus` in cores. What a back-end cannot hold it to, it says in `warning`."""

    memory_bytes: int = 2 * 1024**3
    cpus: float = 2.0
    pids: int = 512
    open_files: int = 4096


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file that a new agent's state begins with. `path` is relative to it, with plain names only."""

    path: str
    content: bytes = field(repr=False)
    executable: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One agent's container.

    `log_file`: what the container prints is appended to it, by every back-end.
    `id_base`: the first of `IDS` ids on the machine that are this agent's alone; None when not started by root. With a
    user namespace, id n inside is `id_base` + n outside; without, `uid` and `harness_uid` are the ids on both sides. So
    `state_dir` belongs to the same users whatever the back-end.
    Only the harness can enter `harness_dir`, which is kept.
    `secrets`: file name → content, put where only the harness finds them (`HIVE_SECRETS_DIR`), who removes them; so
    each start needs a `create` before it.
    `seed`: what `state_dir` holds from the beginning; nothing to do once it is there.
    `environment` must hold no secret that the agent may not read.
    `redis_socket`: its folder is what the container gets, for the socket is made anew when Redis starts.
    `image`: the image to make it of; empty for the newest that there is, or where the back-end has none.
    """

    name: str
    state_dir: Path
    run_dir: Path
    log_file: Path
    id_base: int | None = None
    harness_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    readable: tuple[Path, ...] = ()
    redis_socket: Path | None = None
    limits: Limits = field(default_factory=Limits)
    network: Network = Network.HOST
    image: str = ""
    seed: tuple[SeedFile, ...] = ()

    @property
    def uid(self) -> int | None:
        """The engine's id on the machine; None keeps the supervisor's own, for the harness too."""
        return None if self.id_base is None else self.id_base + ENGINE_ID

    @property
    def harness_uid(self) -> int | None:
        return None if self.id_base is None else self.id_base + HARNESS_ID


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """A container ended. `status` is None when nobody could see it; 128 + n means signal n. `oom`: for its memory."""

    name: str
    status: int | None
    uptime_s: float
    oom: bool = False

    @property
    def signal(self) -> int | None:
        if self.status is None or self.is_reboot:
            return None
        return self.status - 128 if 128 < self.status < 193 else None

    @property
    def is_reboot(self) -> bool:
        """It asked to be started anew: no crash."""
        return self.status == REBOOT


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was created. `since`: of this run or, when it does not run, of the last one; None before the
    first. `exit`: how its last run ended, as far as is known; None while it runs. `image`: the one that it is made of.
    """

    name: str
    running: bool
    since: datetime | None = None
    image: str = ""
    exit: ContainerExit | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """A command inside has ended. `output` is what it printed on both channels, its end if it was long."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container takes now; None where that is not known. `cpu_s`: since it started."""

    memory_bytes: int | None = None
    cpu_s: float | None = None
    pids: int | None = None


@runtime_checkable
class Imaged(Protocol):
    """A runtime whose containers are made of images."""

    async def newest_image(self) -> str:
        """The one that a container created now would be made of; empty when there is none."""
        ...


class ContainerRuntime(Protocol):
    """Containers outlive the runtime object: a new one finds those that an earlier one made.

    Every method may be called again after it failed half-way. What the back-end cannot be asked raises `Unavailable`.
    """

    name: str
    """As in the settings: `process`, `nspawn`, `nixos`, `docker`."""

    isolation: str
    """One line for the operator: what keeps agents apart."""

    warning: str
    """Empty, or what the operator must know."""

    async def create(self, spec: ContainerSpec) -> None:
        """Make all that it needs to start. Again: bring it up to `spec`; one that runs stays as it is.

        Raises `CannotStart`; then nothing new is left.
        """
        ...

    async def start(self, name: str) -> None:
        """Nothing to do when it runs. Raises `CannotStart`, also when it was not created; then nothing runs."""
        ...

    async def stop(self, name: str, *, grace_s: float) -> None:
        """Ask it to end, and after `grace_s` seconds end it. Returns when it has. Nothing to do when it does not run.

        A harness that was asked ends with status 0.
        """
        ...

    async def kill(self, name: str, signal: int = SIGKILL) -> None:
        """Send `signal` to what runs inside; SIGKILL ends all of it. Nothing to do when it does not run."""
        ...

    async def remove(self, name: str) -> None:
        """Undo everything that `create` and `start` made, also half-way; ends it if it runs. The agent's state stays.

        Nothing to do when there is nothing.
        """
        ...

    async def list(self) -> dict[str, Container]:
        """Every container of this hive, by name, those that an earlier supervisor made too."""
        ...

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        """Run `command` inside. Raises `CannotStart` when it does not run, `TimedOut` (and the command is ended)."""
        ...

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        """The last lines that it printed, also after it ended; empty when there is no such container."""
        ...

    def watch(self) -> AsyncIterator[ContainerExit]:
        """Every end since the first `list`, asked for or not, each once; after a lost connection to what runs the
        containers, also those meanwhile. One reader. Raises nothing: it goes on until cancelled."""
        ...

    async def usage(self, name: str) -> Usage:
        """Unknown in every field when it does not run."""
        ...

    async def aclose(self) -> None:
        """Let go of the containers without ending them."""
        ...
