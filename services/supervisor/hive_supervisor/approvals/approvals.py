"""Requests and decisions. What a decision sets off is the deployment's part.

Every step is durable before the next and may be repeated: the commit is pinned before its row is there, the row before
anybody is told, the state before anything is deployed.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from hive_contracts import streams
from hive_contracts.agent_file import FILE_NAME
from hive_contracts.approvals import (
    ApprovalKind,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalState,
    ApprovalView,
    Decision,
    FetchConfig,
    RequestApply,
    ResolveApproval,
)
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import NotFound, Refused
from hive_contracts.ids import approval_id
from hive_contracts.models import AgentConfig
from hive_contracts.names import OPERATOR
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.records.approvals import ApprovalWriter
from hive_supervisor.configs.render import render
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.errors import ConfigRefused, UnknownAgent
from hive_supervisor.wishes import asker_of

SOURCE: Final = "supervisor"
MAX_PENDING: Final = 50
"""Requests of one hive that wait; one more is refused until the operator has looked at some."""

LOOK_S: Final = 60.0

log = structlog.get_logger()


class Approvals:
    """`approved` is called with each approval that is to be deployed. Raises `HiveError` for what is refused."""

    def __init__(
        self,
        store: ApprovalWriter,
        *,
        configs_dir: Path,
        bus: Bus,
        config_of: Callable[[str], AgentConfig | None],
        approved: Callable[[ApprovalView], None],
        ttl_s: float,
    ) -> None:
        self._store = store
        self._configs_dir = configs_dir
        self._bus = bus
        self._config_of = config_of
        self._approved = approved
        self._ttl = timedelta(seconds=ttl_s)
        self._git = asyncio.Lock()

    def repository(self, agent: str) -> ConfigRepository:
        return ConfigRepository(self._configs_dir / f"{agent}.git")

    async def answer(self, command: Envelope) -> dict[str, Any] | None:
        """What a manager asked for, or the operator decided; None for a command of another kind."""
        match command.type:
            case FetchConfig.TYPE:
                return await self.fetch(command.payload(FetchConfig))
            case RequestApply.TYPE:
                wish = command.payload(RequestApply)
                return await self.request(wish, requester=asker_of(command), key=command.id)
            case ResolveApproval.TYPE:
                return await self.resolve(command.payload(ResolveApproval))
            case _:
                return None

    async def fetch(self, wish: FetchConfig) -> dict[str, Any]:
        """What a clone is made of; an agent that has no repository yet gets one from what it runs with."""
        async with self._git:
            repository = await asyncio.to_thread(self._opened, wish.name)
            bundle = await asyncio.to_thread(repository.bundle)
            return {"main": repository.main(), "bundle": base64.b64encode(bundle).decode()}

    async def request(self, wish: RequestApply, *, requester: str, key: str) -> dict[str, Any]:
        """Pin the commit and let it wait for the operator. The same key again is the same request."""
        identity = approval_id(requester, key)
        if (found := self._store.get(identity)) is None:
            found, diff = await self._pinned(wish, requester, identity)
            self._store.add(found, diff)
            log.info("approval requested", approval=identity, agent=wish.name, commit=found.commit)
        await self._tell(ApprovalRequested(approval=found), found, "requested")
        return {"approval": identity, "commit": found.commit}

    async def resolve(self, wish: ResolveApproval) -> dict[str, Any]:
        """The operator's decision. One that was taken already is told again if it is the same."""
        approval = self._store.get(wish.id)
        if approval is None:
            raise NotFound(f"there is no approval {wish.id[:64]}; `hive approvals` lists them")
        if approval.state is not ApprovalState.PENDING:
            raise Refused(f"{approval.id} is {approval.state.value} already; nothing was changed")
        if approval.commit != wish.commit:
            raise Refused(f"{approval.id} is about {approval.commit[:12]}, not {wish.commit[:12]}: look again")
        if wish.decision is Decision.APPROVE:
            return await self._approve(approval, wish.note)
        denied = wish.decision is Decision.DENY
        state = ApprovalState.DENIED if denied else ApprovalState.CHANGES_REQUESTED
        async with self._git:
            tag = partial(self.repository(approval.agent).tag, Tag.DENIED, approval.id, approval.commit, wish.note)
            await asyncio.to_thread(tag)
        await self.move(approval, state, note=wish.note)
        return {"state": state.value}

    async def run(self) -> None:
        """Take up what a supervisor before this one left, and let what waits too long expire; until cancelled."""
        for approval in self._store.in_state(ApprovalState.APPROVED):
            self._approved(approval)
        while True:
            due = await self.expire()
            wait = (due - datetime.now(UTC)).total_seconds() if due else LOOK_S
            await asyncio.sleep(min(max(wait, 0.0), LOOK_S))

    async def expire(self) -> datetime | None:
        """Take the time from requests that waited too long; when the next one is due."""
        now = datetime.now(UTC)
        pending = self._store.in_state(ApprovalState.PENDING)
        for approval in (one for one in pending if one.expires_at <= now):
            await self.move(approval, ApprovalState.EXPIRED, error="nobody decided in time")
        return min((one.expires_at for one in pending if one.expires_at > now), default=None)

    async def move(
        self, approval: ApprovalView, state: ApprovalState, *, note: str = "", error: str = ""
    ) -> ApprovalView | None:
        """Change its state and tell everybody; None when another was quicker."""
        moved = self._store.move(approval, state, at=datetime.now(UTC), note=note, error=error)
        if moved:
            log.info("approval moved", approval=moved.id, agent=moved.agent, state=state.value, error=error[:200])
            await self._tell(ApprovalResolved(approval=moved), moved, state.value)
        return moved

    async def _approve(self, approval: ApprovalView, note: str) -> dict[str, Any]:
        async with self._git:
            repository = self.repository(approval.agent)
            main = await asyncio.to_thread(repository.main)
            if main != approval.base:
                error = f"what ran when it was asked for ({approval.base[:12]}) runs no more"
                await self.move(approval, ApprovalState.VOID, note=note, error=error)
                raise Refused(f"{approval.id} is void: {error}. Have it asked for again on what runs now")
            await asyncio.to_thread(partial(repository.tag, Tag.APPROVED, approval.id, approval.commit, note))
        if moved := await self.move(approval, ApprovalState.APPROVED, note=note):
            self._approved(moved)
        return {"state": ApprovalState.APPROVED.value}

    async def _pinned(self, wish: RequestApply, requester: str, identity: str) -> tuple[ApprovalView, str]:
        if len(self._store.in_state(ApprovalState.PENDING)) >= MAX_PENDING:
            raise Refused(f"{MAX_PENDING} requests wait for the operator already; wait until some are decided")
        try:
            bundle = base64.b64decode(wish.bundle, validate=True)
        except binascii.Error as error:
            raise ConfigRefused("the bundle is not valid base 64") from error
        async with self._git:
            repository = await asyncio.to_thread(self._opened, wish.name)
            commit = await asyncio.to_thread(repository.propose, identity, bundle, wish.commit)
            base = await asyncio.to_thread(repository.main) or ""
            diff = await asyncio.to_thread(repository.diff, base, commit)
        if not diff:
            raise ConfigRefused(f"{commit[:12]} changes nothing; there is nothing to approve")
        now = datetime.now(UTC)
        approval = ApprovalView(
            id=identity,
            kind=ApprovalKind.APPLY_COMMIT,
            agent=wish.name,
            requester=requester,
            state=ApprovalState.PENDING,
            commit=commit,
            base=base,
            description=wish.description,
            requested_at=now,
            expires_at=now + self._ttl,
        )
        return approval, diff

    def _opened(self, agent: str) -> ConfigRepository:
        config = self._config_of(agent)
        if config is None:
            raise UnknownAgent(f"there is no agent called {agent}")
        repository = self.repository(agent)
        main = repository.create({FILE_NAME: render(config)}, author=SOURCE, message="As it runs")
        deploying = any(one.agent == agent for one in self._store.in_state(ApprovalState.APPROVED))
        if not deploying and repository.agent_file(main).config != config:  # the operator changed it by another way
            files = repository.files(main) | {FILE_NAME: render(config)}
            repository.move_main(
                repository.commit(files, parent=main, author=OPERATOR, message="As it runs"), before=main
            )
        return repository

    async def _tell(self, payload: Payload, approval: ApprovalView, what: str) -> None:
        """The same fact has the same id: told again, it is the same."""
        fact = Envelope.of(payload, source=SOURCE, id=f"{approval.id}:{what}", subject=approval.agent)
        await persist(lambda: self._bus.append(streams.EVENTS, fact))
