"""Decisions: what the operator says to a request, and what becomes of those that nobody decides.

The row is what counts: a change of state is kept before anything follows from it, and what follows may be repeated, by
a command that comes again and by the next supervisor.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from hive_contracts.agents import SpawnAgent
from hive_contracts.approvals import (
    ApprovalKind,
    ApprovalState,
    ApprovalView,
    Decision,
    EditConfig,
    FetchConfig,
    ReadConfig,
    RequestApply,
    RequestPurge,
    ResolveApproval,
    RollBackConfig,
)
from hive_contracts.drafts import DiscardDraft, RequestSpawn, RequestSpawnCommit, RequestSpawnDraft, TakeOverDraft
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import HiveError, NotFound, Refused
from hive_contracts.permissions import PatternProposed
from hive_supervisor.approvals.drafts import Drafts
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.approvals.own import Own
from hive_supervisor.approvals.requests import Requests
from hive_supervisor.configs.configs import Agents, Configs
from hive_supervisor.configs.repository import Tag
from hive_supervisor.wishes import asker_of

LOOK_S: Final = 60.0

_STATES: Final = {
    Decision.APPROVE: ApprovalState.APPROVED,
    Decision.DENY: ApprovalState.DENIED,
    Decision.REQUEST_CHANGES: ApprovalState.CHANGES_REQUESTED,
}
_SAID_NO: Final = (ApprovalState.DENIED, ApprovalState.CHANGES_REQUESTED)
_GIVEN_UP: Final = (ApprovalState.DENIED, ApprovalState.EXPIRED)

P = TypeVar("P", bound=Payload)
Handler = tuple[str, Callable[[Envelope], Awaitable[dict[str, Any]]]]

log = structlog.get_logger()


class Approvals:
    """`approved` is called with each approval that is to be deployed. Raises `HiveError` for what is refused."""

    def __init__(
        self,
        ledger: Ledger,
        configs: Configs,
        agents: Agents,
        *,
        approved: Callable[[ApprovalView], asyncio.Event],
        ttl_s: float,
    ) -> None:
        self._ledger = ledger
        self._configs = configs
        self._agents = agents
        self._approved = approved
        self._drafts = Drafts(ledger, configs, agents)
        self._requests = Requests(ledger, configs, agents, self._drafts, ttl_s=ttl_s)
        self._own = Own(ledger, configs, agents, self._drafts, approved=approved)
        self._handlers = self._table()

    def takes(self, command: Envelope) -> bool:
        """Also the making of an agent whose name a draft has."""
        if command.type == SpawnAgent.TYPE:
            return self._ledger.store.draft(str(command.data.get("name"))) is not None
        return command.type in self._handlers

    async def answer(self, command: Envelope) -> dict[str, Any]:
        """What was asked for. The same command again is carried out once."""
        return await self._handlers[command.type](command)

    def _table(self) -> dict[str, Callable[[Envelope], Awaitable[dict[str, Any]]]]:
        drafts, requests, own = self._drafts, self._requests, self._own

        def asked(kind: type[P], ask: Callable[..., Awaitable[dict[str, Any]]]) -> Handler:
            return kind.TYPE, lambda it: ask(it.payload(kind), requester=asker_of(it), key=it.id)

        def told(kind: type[P], do: Callable[[P], Awaitable[dict[str, Any]]]) -> Handler:
            return kind.TYPE, lambda it: do(it.payload(kind))

        def done(kind: type[P], do: Callable[..., Awaitable[dict[str, Any]]]) -> Handler:
            return kind.TYPE, lambda it: do(it.payload(kind), key=it.id)

        return dict(
            (
                asked(RequestApply, requests.apply),
                asked(RequestSpawn, requests.spawn),
                asked(RequestSpawnCommit, requests.spawn_commit),
                asked(RequestPurge, requests.purge),
                asked(RequestSpawnDraft, self._draft),
                told(PatternProposed, requests.pattern),
                told(FetchConfig, self._fetch),
                told(DiscardDraft, drafts.discard),
                told(TakeOverDraft, drafts.take_over),
                told(ReadConfig, own.read),
                done(EditConfig, own.edit),
                done(RollBackConfig, own.roll_back),
                done(SpawnAgent, own.spawn_draft),
                done(ResolveApproval, self._resolve),
            )
        )

    async def note_spawn(self, command: Envelope) -> None:
        """The operator made an agent: that is kept with all other approvals."""
        await self._own.note_spawn(command.payload(SpawnAgent), key=command.id)

    async def run(self) -> None:
        """Take up what a supervisor before this one left, and let what waits too long expire; until cancelled."""
        await self._ledger.tell_untold()
        for approval in self._ledger.store.in_state(ApprovalState.APPROVED):
            self._approved(approval)
        for draft in self._ledger.store.drafts():
            latest = next(iter(self._ledger.store.of_agent(draft.name)), None)
            if latest and latest.requested_at >= draft.created_at:
                await self._follow(latest)
        while True:
            due = await self.expire()
            wait = (due - datetime.now(UTC)).total_seconds() if due else LOOK_S
            await asyncio.sleep(min(max(wait, 0.0), LOOK_S))

    async def expire(self) -> datetime | None:
        """Take the time from requests that waited too long; when the next one is due."""
        now = datetime.now(UTC)
        pending = self._ledger.store.in_state(ApprovalState.PENDING)
        for approval in (one for one in pending if one.expires_at <= now):
            await self._expire(approval)
        return min((one.expires_at for one in pending if one.expires_at > now), default=None)

    async def purged(self, name: str) -> None:
        """An agent and all that it had is gone."""
        if self._ledger.store.draft(name) is None:
            await self._ledger.void(name, f"{name} was purged")
        await self._drafts.purged(name)

    async def _draft(self, wish: RequestSpawnDraft, *, requester: str, key: str) -> dict[str, Any]:
        draft = await self._drafts.make(wish.name, author=requester)
        return {"commit": draft.commit, "revives": draft.revives}

    async def _fetch(self, wish: FetchConfig) -> dict[str, Any]:
        """What a clone is made of; an agent that has no repository yet gets one from what it runs with."""
        async with self._configs.lock(wish.name):
            repository = await asyncio.to_thread(self._configs.opened, wish.name)
            bundle = await asyncio.to_thread(repository.bundle)
            return {"main": repository.main(), "bundle": base64.b64encode(bundle).decode()}

    async def _resolve(self, wish: ResolveApproval, *, key: str) -> dict[str, Any]:
        approval = self._ledger.store.get(wish.id)
        if approval is None:
            raise NotFound(f"there is no approval {wish.id[:64]}; `hive approvals` lists them")
        if self._ledger.store.decided_by(approval.id) != key:
            approval = await self._decide(await self._still_open(approval, wish), wish, by=key)
        await self._follow(approval)
        return {"state": approval.state.value}

    async def _still_open(self, approval: ApprovalView, wish: ResolveApproval) -> ApprovalView:
        """Raises `Refused` for what cannot be decided any more, or not as it was looked at."""
        if approval.state is not ApprovalState.PENDING:
            raise Refused(f"{approval.id} is {approval.state.value} already; nothing was changed")
        if approval.expires_at <= datetime.now(UTC):
            await self._expire(approval)
            raise Refused(f"{approval.id} has expired; nothing was changed")
        if approval.commit != wish.commit:
            raise Refused(f"{approval.id} is about {approval.commit[:12]}, not {wish.commit[:12]}: look again")
        if wish.decision is Decision.APPROVE and (reason := await self._drifted(approval)):
            await self._ledger.move(approval, ApprovalState.VOID, note=wish.note, error=reason)
            raise Refused(f"{approval.id} is void: {reason}. {await self._asked_anew(approval)}")
        return approval

    async def _decide(self, approval: ApprovalView, wish: ResolveApproval, *, by: str) -> ApprovalView:
        moved = await self._ledger.move(approval, _STATES[wish.decision], note=wish.note, decided_by=by)
        if moved is None:
            raise Refused(f"{approval.id} was decided already; nothing was changed")
        return moved

    async def _follow(self, approval: ApprovalView) -> None:
        """What a state sets off; it may be done again."""
        if approval.state is ApprovalState.APPROVED:
            self._approved(approval)
        elif approval.state in _SAID_NO and approval.commit:
            repository = self._configs.repository(approval.agent)
            tag = partial(repository.tag, Tag.DENIED, approval.id, approval.commit, approval.note)
            if repository.path.is_dir():
                async with self._configs.lock(approval.agent):
                    await asyncio.to_thread(tag)
        if approval.kind is ApprovalKind.SPAWN and approval.state in _GIVEN_UP:
            await self._end_of(approval)

    async def _end_of(self, approval: ApprovalView) -> None:
        """The draft that only held the name for a request goes with it."""
        draft = self._ledger.store.draft(approval.agent)
        if draft and draft.author == approval.requester and not self._ledger.store.waiting_of(approval.agent):
            await self._drafts.drop(draft, "the request for it has ended")

    async def _drifted(self, approval: ApprovalView) -> str:
        """Why it cannot be done any more; empty while it can."""
        there = self._agents.wanted(approval.agent)
        if approval.kind is ApprovalKind.PURGE:
            return "" if there else f"{approval.agent} is there no more"
        if approval.kind.spawns and self._ledger.store.draft(approval.agent) is None:
            return "its draft is there no more"
        if not approval.kind.spawns and self._agents.config(approval.agent) is None:
            return f"{approval.agent} is there no more"
        main = await asyncio.to_thread(self._configs.repository(approval.agent).main)
        return "" if main == approval.base else f"what ran when it was asked for ({approval.base[:12]}) runs no more"

    async def _asked_anew(self, approval: ApprovalView) -> str:
        """A pattern is on what runs now at once; a commit has to be made again by who made it."""
        if approval.kind is not ApprovalKind.PERMISSION_PATTERN:
            return "Have it asked for again on what runs now"
        fact = PatternProposed(
            agent=approval.agent, tool="Bash", pattern=approval.pattern, question_id=f"after {approval.id}"
        )
        try:
            return f"It is asked for again as {(await self._requests.pattern(fact))['approval']}"
        except (HiveError, KeyError):
            return "It is not needed any more"

    async def _expire(self, approval: ApprovalView) -> None:
        if moved := await self._ledger.move(approval, ApprovalState.EXPIRED, error="nobody decided in time"):
            await self._follow(moved)
