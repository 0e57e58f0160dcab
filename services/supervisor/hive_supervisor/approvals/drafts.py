"""Drafts: made by a manager at once, discarded or taken over by the operator, gone when an agent is made of them.

Every step may be repeated: the repository is there before its row, and the row goes last.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from hive_contracts.agents import Desired
from hive_contracts.drafts import DiscardDraft, DraftView, TakeOverDraft
from hive_contracts.errors import NotFound, Refused
from hive_contracts.names import OPERATOR
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Agents, Configs
from hive_supervisor.configs.repository import ConfigRepository
from hive_supervisor.errors import AgentDestroyed, AgentExists

MAX_DRAFTS: Final = 20
"""Drafts of one hive; one more is refused until the operator has looked at some."""


class Drafts:
    """Raises `HiveError` for what is refused."""

    def __init__(self, ledger: Ledger, configs: Configs, agents: Agents) -> None:
        self._ledger = ledger
        self._configs = configs
        self._agents = agents

    async def make(self, name: str, *, author: str, description: str = "") -> DraftView:
        """That of the same author again is the same."""
        self._check_free(name, author)
        async with self._configs.lock(name):
            if found := self._ledger.store.draft(name):
                return found
            if len(self._ledger.store.drafts()) >= MAX_DRAFTS:
                raise Refused(f"there are {MAX_DRAFTS} drafts already; have some made or discarded")
            repository = await asyncio.to_thread(
                lambda: self._configs.drafted(name, author=author, description=description)
            )
            draft = await asyncio.to_thread(self._seen, repository, name, author)
            await self._ledger.keep_draft(draft)
            return draft

    def of(self, name: str, author: str) -> DraftView:
        """A draft that `author` works on."""
        draft = self._ledger.store.draft(name)
        if draft is None:
            raise NotFound(f"there is no draft of {name}; make one with request_spawn_draft")
        if draft.author != author:
            raise Refused(f"the draft of {name} is {draft.author}'s")
        return draft

    async def saw(self, draft: DraftView, commit: str) -> None:
        """A commit of it came in."""
        about = await asyncio.to_thread(self._configs.repository(draft.name).about, commit)
        at = datetime.fromtimestamp(about.at, UTC)
        changed = draft.model_copy(update={"commit": commit, "subject": about.subject[:200], "committed_at": at})
        await self._ledger.keep_draft(changed)

    async def discard(self, wish: DiscardDraft) -> dict[str, str]:
        """Its repository goes, unless a destroyed agent's is in it."""
        if draft := self._ledger.store.draft(wish.name):
            await self.drop(draft, "its draft was discarded")
        return {}

    async def drop(self, draft: DraftView, reason: str) -> None:
        async with self._configs.lock(draft.name):
            await self._ledger.void(draft.name, reason)
            if self._agents.wanted(draft.name) in (None, Desired.PURGED):
                await asyncio.to_thread(self._configs.forget, draft.name)
            await self._ledger.end_draft(draft, became=False)

    async def take_over(self, wish: TakeOverDraft) -> dict[str, str]:
        """With the last commit that its manager had submitted."""
        draft = self._ledger.store.draft(wish.name)
        if draft is None:
            raise NotFound(f"there is no draft of {wish.name}; `hive drafts` lists those there are")
        async with self._configs.lock(wish.name):
            await self._ledger.void(wish.name, "the operator took the draft over")
            repository = self._configs.repository(wish.name)
            main = await asyncio.to_thread(repository.main)
            await asyncio.to_thread(lambda: repository.move_main(draft.commit, before=main))
            await self._ledger.keep_draft(draft.model_copy(update={"author": OPERATOR}), taken_over=True)
        return {"commit": draft.commit}

    async def purged(self, name: str) -> None:
        """Nothing is kept of the agent of that name any more."""
        if draft := self._ledger.store.draft(name):
            await self._ledger.keep_draft(draft.model_copy(update={"revives": False}))

    def _check_free(self, name: str, author: str) -> None:
        desired = self._agents.wanted(name)
        if desired is Desired.PURGED:
            raise AgentDestroyed(f"{name} is being wiped now; try again in a moment")
        if desired and desired.is_there:
            raise AgentExists(f"there is an agent called {name} already; choose another name")
        draft = self._ledger.store.draft(name)
        if draft and draft.author != author:
            raise AgentExists(f"there is a draft of {name} already, {draft.author}'s; choose another name")

    def _seen(self, repository: ConfigRepository, name: str, author: str) -> DraftView:
        main = repository.main()
        about = repository.about(str(main))
        return DraftView(
            name=name,
            author=author,
            created_at=datetime.now(UTC),
            commit=about.sha,
            subject=about.subject[:200],
            committed_at=datetime.fromtimestamp(about.at, UTC),
            revives=self._agents.wanted(name) is Desired.DESTROYED,
        )
