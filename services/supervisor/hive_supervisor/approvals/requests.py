"""What is asked for, as approvals that wait for the operator: checked and pinned before anybody sees them."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hive_contracts.agents import Desired
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, RequestApply, RequestPurge
from hive_contracts.drafts import RequestSpawn, RequestSpawnCommit
from hive_contracts.errors import Refused
from hive_contracts.ids import approval_id
from hive_contracts.names import MANAGER
from hive_contracts.permissions import PatternProposed
from hive_supervisor.approvals.comparing import agent_files, diffs
from hive_supervisor.approvals.drafts import Drafts
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Agents, Configs
from hive_supervisor.configs.patterns import with_pattern
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.errors import AgentDestroyed, ConfigRefused, UnknownAgent

MAX_PENDING: Final = 50
"""Requests of one hive that wait; one more is refused until the operator has looked at some."""

_DRAWN_UP: Final = "hyperhive"
"""Author of the commits that nobody wrote by hand."""

Asked = dict[str, Any]


class Requests:
    """The same key again is the same request, and one that asks for what another one waits for is that one.

    Raises `HiveError` for what is refused; then nothing waits.
    """

    def __init__(self, ledger: Ledger, configs: Configs, agents: Agents, drafts: Drafts, *, ttl_s: float) -> None:
        self._ledger = ledger
        self._configs = configs
        self._agents = agents
        self._drafts = drafts
        self._ttl = timedelta(seconds=ttl_s)

    async def apply(self, wish: RequestApply, *, requester: str, key: str) -> Asked:
        approval = self._new(ApprovalKind.APPLY_COMMIT, wish.name, requester, key, wish.description)
        if again := await self._again(approval):
            return again
        if self._agents.config(wish.name) is None and self._ledger.store.draft(wish.name):
            raise Refused(f"{wish.name} is a draft: use request_spawn_commit")
        return await self._propose(
            approval, lambda at: at.propose(approval.id, _decoded(wish.bundle), wish.commit), commit=wish.commit
        )

    async def spawn_commit(self, wish: RequestSpawnCommit, *, requester: str, key: str) -> Asked:
        approval = self._new(ApprovalKind.SPAWN_COMMIT, wish.name, requester, key, wish.description)
        if again := await self._again(approval):
            return again
        draft = self._drafts.of(wish.name, requester)
        approval = approval.model_copy(update={"revives": draft.revives})
        asked = await self._propose(
            approval, lambda at: at.propose(approval.id, _decoded(wish.bundle), wish.commit), commit=wish.commit
        )
        await self._drafts.saw(draft, asked["commit"])
        return asked

    async def spawn(self, wish: RequestSpawn, *, requester: str, key: str) -> Asked:
        """With a draft that holds the name, made of what was kept or of the template."""
        approval = self._new(ApprovalKind.SPAWN, wish.name, requester, key, wish.description)
        if again := await self._again(approval):
            return again
        draft = await self._drafts.make(wish.name, author=requester, description=wish.description)
        approval = approval.model_copy(update={"revives": draft.revives})
        asked = await self._propose(approval, lambda at: at.propose(approval.id, b"", str(at.main())))
        return asked | {"revives": draft.revives}

    async def purge(self, wish: RequestPurge, *, requester: str, key: str) -> Asked:
        approval = self._new(ApprovalKind.PURGE, wish.name, requester, key, wish.description)
        if again := await self._again(approval):
            return again
        if wish.name == MANAGER:
            raise Refused(f"{MANAGER} is the manager; a hive without one does nothing")
        if self._agents.wanted(wish.name) in (None, Desired.PURGED):
            raise UnknownAgent(f"there is no agent called {wish.name}")
        if waiting := self._waiting(approval):
            return waiting
        self._check_room()
        await self._ledger.add(approval)
        return _asked(approval)

    async def pattern(self, fact: PatternProposed) -> Asked:
        """From an operator's `always`: nothing to ask for when the agent has the pattern by now."""
        config = self._agents.config(fact.agent)
        if config is None:
            raise AgentDestroyed(f"{fact.agent} is there no more")
        if fact.pattern in (config.policy.bash_patterns or ()):
            return {}
        async with self._configs.lock(fact.agent):
            repository = await asyncio.to_thread(self._configs.opened, fact.agent)
            base = await asyncio.to_thread(repository.main)
        approval = self._new(
            ApprovalKind.PERMISSION_PATTERN, fact.agent, fact.agent, f"{fact.question_id}:{base}",
            f"You answered always to question {fact.question_id}.",
        ).model_copy(update={"pattern": fact.pattern})  # fmt: skip
        if again := await self._again(approval):
            return again
        if any(one.pattern == fact.pattern for one in self._ledger.store.waiting_of(fact.agent)):
            return {}
        return await self._propose(approval, lambda at: _pattern_commit(at, approval))

    def _new(self, kind: ApprovalKind, agent: str, requester: str, key: str, description: str) -> ApprovalView:
        now = datetime.now(UTC)
        return ApprovalView(
            id=approval_id(requester, key),
            kind=kind,
            agent=agent,
            requester=requester,
            state=ApprovalState.PENDING,
            description=description,
            requested_at=now,
            expires_at=now + self._ttl,
        )

    async def _again(self, approval: ApprovalView) -> Asked | None:
        """The answer to a request that was taken already."""
        if repeated := self._ledger.store.repeated(approval.id):
            return _asked_before(repeated)
        found = self._ledger.store.get(approval.id)
        if found is None:
            return None
        await self._ledger.tell(found)
        return _asked(found)

    def _waiting(self, approval: ApprovalView, *, commit: str = "") -> Asked | None:
        """The answer when the same is asked for and waits, on the same base, in whatever words."""
        wanted = (approval.kind, approval.requester, approval.pattern, approval.base)
        for one in self._ledger.store.waiting_of(approval.agent):
            if (one.kind, one.requester, one.pattern, one.base) == wanted and one.commit.startswith(commit):
                self._ledger.store.repeat(approval.id, one)
                return _asked_before(one)
        return None

    def _check_room(self) -> None:
        if len(self._ledger.store.in_state(ApprovalState.PENDING)) >= MAX_PENDING:
            raise Refused(f"{MAX_PENDING} requests wait for the operator already; wait until some are decided")

    async def _propose(
        self, approval: ApprovalView, pin: Callable[[ConfigRepository], str], *, commit: str = ""
    ) -> Asked:
        """`pin` brings the commit into the repository, as a proposal of the approval's; `commit` is as it was asked."""
        async with self._configs.lock(approval.agent):
            repository = await asyncio.to_thread(self._configs.opened, approval.agent)
            base = await asyncio.to_thread(repository.main) or ""
            approval = approval.model_copy(update={"base": base})
            if waiting := self._waiting(approval, commit=commit):
                return waiting
            self._check_room()
            sha = await asyncio.to_thread(pin, repository)
            approval = approval.model_copy(update={"commit": sha})
            earlier = self._ledger.store.of_agent(approval.agent)
            found = await asyncio.to_thread(diffs, repository, approval, earlier)
            files = await asyncio.to_thread(agent_files, repository, approval)
        if not approval.kind.spawns and not found[0].text:
            await asyncio.to_thread(repository.drop_tag, Tag.PROPOSAL, approval.id)
            raise ConfigRefused(f"{sha[:12]} changes nothing; there is nothing to approve")
        await self._ledger.add(approval, found, files)
        return _asked(approval)


def _pattern_commit(repository: ConfigRepository, approval: ApprovalView) -> str:
    main = str(repository.main())
    sha = with_pattern(repository, main, approval.pattern, author=_DRAWN_UP)
    repository.pin(approval.id, sha)
    return sha


def _asked(approval: ApprovalView) -> Asked:
    return {"approval": approval.id, **({"commit": approval.commit} if approval.commit else {})}


def _asked_before(approval: ApprovalView) -> Asked:
    return _asked(approval) | {"asked_before": approval.state.value}


def _decoded(bundle: str) -> bytes:
    try:
        return base64.b64decode(bundle, validate=True)
    except binascii.Error as error:
        raise ConfigRefused("the bundle is not valid base 64") from error
