"""What the operator does to configurations without being asked: kept as approvals, deployed like any other."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from hive_contracts.agent_file import FILE_NAME, parse
from hive_contracts.agents import SpawnAgent
from hive_contracts.approvals import (
    ApprovalKind,
    ApprovalState,
    ApprovalView,
    EditConfig,
    ReadConfig,
    RollBackConfig,
)
from hive_contracts.drafts import DraftView
from hive_contracts.errors import NotFound, Refused
from hive_contracts.ids import approval_id
from hive_contracts.names import OPERATOR
from hive_runtime.records.approvals import AgentFiles
from hive_supervisor.approvals.comparing import agent_files, diffs
from hive_supervisor.approvals.drafts import Drafts
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Agents, Configs
from hive_supervisor.configs.render import render
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.errors import AgentExists, CannotStart, ConfigRefused

MOST_DEPLOYED: Final = 50
MADE_WAIT_S: Final = 8.0
"""How long the answer to a spawn waits for the agent, in seconds."""


class Own:
    """`approved` is called with each approval that is to be deployed. The same key again is the same deed."""

    def __init__(
        self,
        ledger: Ledger,
        configs: Configs,
        agents: Agents,
        drafts: Drafts,
        *,
        approved: Callable[[ApprovalView], asyncio.Event],
    ) -> None:
        self._ledger = ledger
        self._configs = configs
        self._agents = agents
        self._drafts = drafts
        self._approved = approved

    async def read(self, wish: ReadConfig) -> dict[str, Any]:
        """`main`, its `text`, the other `files` by path, and what was `deployed`, newest first."""
        async with self._configs.lock(wish.name):
            repository = await asyncio.to_thread(self._configs.opened, wish.name)
            main = str(await asyncio.to_thread(repository.main))
            text = await asyncio.to_thread(repository.text, main)
            files = await asyncio.to_thread(repository.files, main)
            deployed = await asyncio.to_thread(self._deployed, repository, wish.name)
        others = sorted(path for path in files if path != FILE_NAME)
        return {"main": main, "text": text, "files": others, "deployed": deployed}

    async def edit(self, wish: EditConfig, *, key: str) -> dict[str, Any]:
        """Raises `InvalidAgentFile` with every mistake."""
        parse(wish.text)

        def commit(repository: ConfigRepository, main: str) -> str:
            if main != wish.before:
                raise Refused(f"main is at {main[:12]}, not at {wish.before[:12]} any more: look again")
            files = repository.files(main) | {FILE_NAME: wish.text.encode()}
            return repository.commit(files, parent=main, author=OPERATOR, message=wish.description or "Edited")

        draft = self._ledger.store.draft(wish.name)
        if draft and self._agents.config(wish.name) is None:
            return await self._edit_draft(self._drafts.of(wish.name, OPERATOR), commit)
        return await self._deploy(wish.name, wish.description or "edited by the operator", commit, key=key)

    async def roll_back(self, wish: RollBackConfig, *, key: str) -> dict[str, Any]:
        found = self._earlier(wish)

        def commit(repository: ConfigRepository, main: str) -> str:
            sha = found.base if not wish.approval else repository.tagged(Tag.DEPLOYED, found.id)
            if not sha or not repository.has(sha):
                raise NotFound(f"{found.id} is not among what was deployed for {wish.name}")
            return repository.again(sha, parent=main, author=OPERATOR, message=f"Back to {sha[:12]}")

        what = f"back to {found.id}" if wish.approval else f"back to what ran before {found.id}"
        return await self._deploy(wish.name, what, commit, key=key)

    async def spawn_draft(self, wish: SpawnAgent, *, key: str) -> dict[str, Any]:
        """Make the agent of a draft that the operator took over, from what is in it."""
        draft = self._ledger.store.draft(wish.name)
        if draft is None or draft.author != OPERATOR:
            whose = draft.author if draft else "another"
            raise AgentExists(
                f"there is a draft of {wish.name}, {whose}'s: approve what is asked for it, take it over, or discard it"
            )
        approval = self._new(ApprovalKind.SPAWN_COMMIT, wish.name, wish.description, key)
        approval = approval.model_copy(update={"revives": draft.revives})
        approval = await self._approve(approval, lambda _, main: main)
        with suppress(TimeoutError):
            async with asyncio.timeout(MADE_WAIT_S):
                await self._approved(approval).wait()
        ended = self._ledger.store.get(approval.id)
        if ended and ended.state in (ApprovalState.FAILED, ApprovalState.VOID):
            raise CannotStart(f"{wish.name} was not made: {ended.error}")
        return {"approval": approval.id}

    async def note_spawn(self, wish: SpawnAgent, *, key: str) -> None:
        """Keep that the operator made an agent."""
        approval = self._new(ApprovalKind.SPAWN, wish.name, wish.description, key)
        state = {"state": ApprovalState.DEPLOYED, "resolved_at": approval.requested_at}
        config = self._agents.config(wish.name) or wish.config
        await self._ledger.add(approval.model_copy(update=state), (), AgentFiles(None, render(config).decode()))

    async def _deploy(
        self, name: str, description: str, commit: Callable[[ConfigRepository, str], str], *, key: str
    ) -> dict[str, Any]:
        approval = self._new(ApprovalKind.APPLY_COMMIT, name, description, key)
        found = await self._approve(approval, commit)
        return {"approval": found.id, "commit": found.commit}

    async def _approve(self, approval: ApprovalView, commit: Callable[[ConfigRepository, str], str]) -> ApprovalView:
        if found := self._ledger.store.get(approval.id):
            await self._ledger.tell(found)
            if found.state is ApprovalState.APPROVED:
                self._approved(found)
            return found
        async with self._configs.lock(approval.agent):
            repository = await asyncio.to_thread(self._configs.opened, approval.agent)
            base = str(await asyncio.to_thread(repository.main))
            sha = await asyncio.to_thread(commit, repository, base)
            approval = approval.model_copy(update={"commit": sha, "base": base})
            await asyncio.to_thread(repository.pin, approval.id, sha)
            earlier = self._ledger.store.of_agent(approval.agent)
            found_diffs = await asyncio.to_thread(diffs, repository, approval, earlier)
            files = await asyncio.to_thread(agent_files, repository, approval)
            if not approval.kind.spawns and not found_diffs[0].text:
                raise ConfigRefused("that changes nothing")
            await self._ledger.add(approval, found_diffs, files)
        self._approved(approval)
        return approval

    async def _edit_draft(self, draft: DraftView, commit: Callable[[ConfigRepository, str], str]) -> dict[str, Any]:
        async with self._configs.lock(draft.name):
            repository = self._configs.repository(draft.name)
            main = str(await asyncio.to_thread(repository.main))
            sha = await asyncio.to_thread(commit, repository, main)
            await asyncio.to_thread(lambda: repository.move_main(sha, before=main))
        await self._drafts.saw(draft, sha)
        return {"commit": sha}

    def _earlier(self, wish: RollBackConfig) -> ApprovalView:
        """The deployment that is meant; without an id the last."""
        if wish.approval:
            found = self._ledger.store.get(wish.approval)
            if found is None or found.agent != wish.name or found.state is not ApprovalState.DEPLOYED:
                raise NotFound(f"{wish.approval} is not among what was deployed for {wish.name}")
            return found
        deployed = (one for one in self._ledger.store.of_agent(wish.name) if one.state is ApprovalState.DEPLOYED)
        last = next((one for one in deployed if one.commit and not one.kind.spawns), None)
        if last is None:
            raise NotFound(f"nothing was deployed for {wish.name} yet, so there is nothing to go back to")
        return last

    def _deployed(self, repository: ConfigRepository, name: str) -> list[dict[str, str]]:
        tags = repository.all_tags()
        found = [one for one in self._ledger.store.of_agent(name) if Tag.DEPLOYED in tags.get(one.id, {})]
        found = found[:MOST_DEPLOYED]
        return [
            {
                "approval": one.id,
                "commit": one.commit,
                "at": (one.resolved_at or one.requested_at).isoformat(),
                "subject": repository.about(one.commit).subject[:200],
            }
            for one in found
        ]

    def _new(self, kind: ApprovalKind, name: str, description: str, key: str) -> ApprovalView:
        now = datetime.now(UTC)
        return ApprovalView(
            id=approval_id(OPERATOR, key),
            kind=kind,
            agent=name,
            requester=OPERATOR,
            state=ApprovalState.APPROVED,
            description=description,
            requested_at=now,
            expires_at=now,
        )
