"""New passwords for Redis users while everything runs, one user after the other.

The server takes old and new until nobody needs the old one. A service reads its file again at each connection, so
ending its connections is enough. A harness got its password once: its container is restarted, when no turn runs, and
the old one goes between the end of the one and the start of the other. How far it got stands in a file: the next
supervisor goes on from there.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import structlog

from hive_contracts import streams
from hive_contracts.agents import AgentState, Desired, TurnState
from hive_contracts.credentials import CredentialsRotated, RotateCredentials
from hive_contracts.envelope import Envelope
from hive_contracts.errors import NotFound, Refused
from hive_runtime import acl
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_supervisor.principals import SERVICES, Principals

LOOK_S: Final = 0.2
SOURCE: Final = "supervisor"
RESTART_S: Final = 60.0
"""How long one container may take to come back before the next is restarted. Seconds."""

IN_TURN: Final = frozenset({TurnState.THINKING, TurnState.COMPACTING})

log = structlog.get_logger()


class Host(Protocol):
    """What a rotation asks of the fleet."""

    def names(self) -> list[str]: ...

    def wanted(self, name: str) -> Desired | None: ...

    async def restart(self, name: str) -> None: ...

    async def settled(self, name: str) -> None: ...


class Rotation:
    """`run` owns it; `journal` is where it keeps how far it is. `turn_wait_s`: how long turns may take to end."""

    def __init__(
        self,
        bus: Bus,
        host: Host,
        principals: Principals,
        *,
        journal: Path,
        turn_wait_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self._host = host
        self._principals = principals
        self._journal = journal
        self._turn_wait_s = turn_wait_s
        self._clock = clock
        self._asked = asyncio.Event()
        self._now = _read(journal)

    async def request(self, command: Envelope) -> None:
        """Begin, once per command. Raises `MalformedEnvelope`, `NotFound`, `Refused` while another is under way."""
        wish = command.payload(RotateCredentials)
        if self._now is None or self._now.command != command.id:
            if self._now and self._now.ended_at is None:
                raise Refused("passwords are being rotated already; wait until that is done")
            users = tuple(dict.fromkeys(self._users(wish.names)))
            self._now = CredentialsRotated(command=command.id, at=self._clock(), waiting=users)
        await self._keep()
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled; first what an earlier supervisor left."""
        while True:
            if self._now and self._now.ended_at is None:
                await self._carry_out(self._now)
            await self._asked.wait()
            self._asked.clear()

    def _users(self, names: Sequence[str]) -> list[str]:
        known = self._host.names()
        if unknown := [name for name in names if name not in known and name not in SERVICES]:
            raise NotFound(f"there is no agent called {unknown[0]}; name agents, or services as {', '.join(SERVICES)}")
        return [name if name in SERVICES else acl.agent_user(name) for name in names or (*SERVICES, *known)]

    async def _carry_out(self, found: CredentialsRotated) -> None:
        log.info("rotating passwords", users=len(found.waiting))
        agents: list[str] = []
        for user in found.waiting:
            name = user.removeprefix(acl.agent_user(""))
            if user in SERVICES:
                await persist(lambda user=user: self._principals.renew(user))  # type: ignore[misc]
                await persist(lambda user=user: self._principals.drop_old(user))  # type: ignore[misc]
                await self._done(user)
            elif self._host.wanted(name) in (None, Desired.PURGED):
                await self._done(user)
            else:
                await persist(lambda user=user: self._principals.renew(user))  # type: ignore[misc]
                agents.append(name)
        await self._restart_all(agents)
        assert self._now is not None  # noqa: S101
        self._now = self._now.model_copy(update={"ended_at": self._clock()})
        fact = Envelope.of(self._now, source=SOURCE, id=f"{self._now.command}:rotated"[:128])
        await persist(lambda: self._bus.append(streams.EVENTS, fact))  # first, or a crash could leave it untold
        await self._keep()
        log.info("passwords rotated", users=len(self._now.done), cut_short=list(self._now.cut_short))

    async def _restart_all(self, names: list[str]) -> None:
        """Each container in turn, those first that are idle; after `turn_wait_s` the others in mid-turn."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._turn_wait_s
        while names:
            late = loop.time() >= until
            idle = [name for name in names if not await self._in_turn(name)]
            for name in names if late else idle:
                await self._move(name)
                await self._done(acl.agent_user(name), cut_short=name not in idle)
                names = [other for other in names if other != name]
            if names:
                await asyncio.sleep(LOOK_S)

    async def _move(self, name: str) -> None:
        """The container starts anew with the new password; without one, the old password goes at once."""
        user = acl.agent_user(name)
        if self._host.wanted(name) is Desired.RUNNING and self._principals.is_replaced(user):
            await self._host.restart(name)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART_S):
                    await self._host.settled(name)
        if self._host.wanted(name) not in (None, Desired.PURGED):
            await persist(lambda: self._principals.drop_old(user))

    async def _in_turn(self, name: str) -> bool:
        if self._host.wanted(name) is not Desired.RUNNING:
            return False
        fields = await persist(lambda: self._bus.hash_all(streams.state(name)))
        try:
            return AgentState.model_validate_json(fields.get(streams.STATE_FIELD, "")).state in IN_TURN
        except ValueError:
            return False

    async def _done(self, user: str, *, cut_short: bool = False) -> None:
        assert self._now is not None  # noqa: S101
        now = self._now
        self._now = now.model_copy(
            update={
                "waiting": tuple(other for other in now.waiting if other != user),
                "done": (*now.done, user),
                "cut_short": (*now.cut_short, user) if cut_short else now.cut_short,
            }
        )
        log.info("password rotated", user=user, waiting=len(self._now.waiting))
        await self._keep()

    async def _keep(self) -> None:
        """On disk first, then for whoever asks."""
        assert self._now is not None  # noqa: S101
        text = self._now.model_dump_json()
        partial = self._journal.with_suffix(".partial")
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._journal)
        await persist(lambda: self._bus.hash_set(streams.CREDENTIALS, {streams.REPORT_FIELD: text}))


def _read(journal: Path) -> CredentialsRotated | None:
    try:
        return CredentialsRotated.model_validate_json(journal.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("the rotation's journal cannot be read; rotate again")
        return None
