"""What an agent's keeper, and all of them together, ask of the rest of the supervisor."""

from typing import Protocol

from hive_contracts.envelope import Payload
from hive_contracts.models import RestartPolicy
from hive_supervisor.life import Life
from hive_supervisor.runtimes.base import ContainerSpec, SeedFile


class Host(Protocol):
    """What a keeper asks of the supervisor."""

    async def prepare(self, name: str) -> ContainerSpec:
        """The agent's user, streams and spec. Raises `HiveError`."""
        ...

    async def version(self, name: str) -> dict[str, str]:
        """What a container that starts now is made of."""
        ...

    async def ready(self, name: str) -> None:
        """Returns once the harness has reported."""
        ...

    async def misfits(self, name: str) -> bool:
        """Whether the harness that runs cannot work with this hive."""
        ...

    async def tell(self, payload: Payload, subject: str, *, fact_id: str = "") -> None:
        """Put a fact into `hive:events`. One with the same `fact_id` is the same fact, told again."""
        ...

    async def changed(self, name: str) -> None:
        """The keeper's account changed; publish it."""
        ...

    def policy(self, name: str) -> RestartPolicy:
        """What follows a crash."""
        ...

    def keep(self, name: str, life: Life) -> None:
        """Keep it over restarts of the supervisor. Raises nothing: what cannot be kept is logged."""
        ...


class Origins(Protocol):
    """Where agents come from: their configurations. Its methods may block."""

    def seed(self, name: str) -> tuple[SeedFile, ...]:
        """What the state of a new agent begins with."""
        ...

    def keeps(self, name: str) -> bool:
        """Whether its repository outlives its purge."""
        ...
