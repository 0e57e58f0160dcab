"""The book of approvals: each change of state is kept, then told, also by a supervisor that comes after."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.approvals import ApprovalRequested, ApprovalResolved, ApprovalState, ApprovalView
from hive_contracts.drafts import DraftChanged, DraftEnded, DraftView
from hive_contracts.envelope import Envelope, Payload
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.records.approvals import AgentFiles, ApprovalWriter, StoredDiff

SOURCE: Final = "supervisor"

log = structlog.get_logger()


class Ledger:
    """`store` is for reading; what is changed goes through here. Raises `StoreUnavailable`."""

    def __init__(self, store: ApprovalWriter, bus: Bus) -> None:
        self.store = store
        self._bus = bus

    async def add(
        self, approval: ApprovalView, diffs: Sequence[StoredDiff] = (), files: AgentFiles | None = None
    ) -> None:
        """Nothing to keep when one with its id is there."""
        if self.store.add(approval, diffs, files):
            log.info("approval added", approval=approval.id, kind=approval.kind.value, agent=approval.agent)
        await self.tell(approval)

    async def move(
        self, approval: ApprovalView, state: ApprovalState, *, note: str = "", error: str = "", decided_by: str = ""
    ) -> ApprovalView | None:
        """Change its state and tell everybody; None when another was quicker."""
        now = datetime.now(UTC)
        moved = self.store.move(approval, state, at=now, note=note, error=error, decided_by=decided_by)
        if moved:
            log.info("approval moved", approval=moved.id, agent=moved.agent, state=state.value, error=error[:200])
            await self.tell(moved)
        return moved

    async def void(self, agent: str, reason: str) -> None:
        """All that waits for the operator about `agent`."""
        for approval in self.store.waiting_of(agent):
            await self.move(approval, ApprovalState.VOID, error=reason)

    async def tell_untold(self) -> None:
        """What a supervisor before this one changed, and was cut off before it told."""
        for approval in self.store.untold():
            await self.tell(approval)

    async def tell(self, approval: ApprovalView) -> None:
        """The same fact has the same id: told again, it is the same."""
        pending = approval.state is ApprovalState.PENDING
        payload = ApprovalRequested(approval=approval) if pending else ApprovalResolved(approval=approval)
        await self._append(payload, f"{approval.id}:{approval.state.value}", approval.agent)
        self.store.told(approval)

    async def keep_draft(self, draft: DraftView, *, taken_over: bool = False) -> None:
        self.store.keep_draft(draft)
        what = "taken" if taken_over else f"{draft.author}:{draft.commit[:12]}:{draft.revives}"
        await self._append(DraftChanged(draft=draft, taken_over=taken_over), _of(draft, what), draft.name)

    async def end_draft(self, draft: DraftView, *, became: bool) -> None:
        """Told before it is forgotten, so that it is told again when this is cut off."""
        await self._append(DraftEnded(draft=draft, became=became), _of(draft, "ended"), draft.name)
        self.store.drop_draft(draft.name)

    async def _append(self, payload: Payload, identity: str, subject: str) -> None:
        fact = Envelope.of(payload, source=SOURCE, id=identity, subject=subject)
        await persist(lambda: self._bus.append(streams.EVENTS, fact))


def _of(draft: DraftView, what: str) -> str:
    return f"draft:{draft.name}:{draft.created_at.timestamp():.3f}:{what}"
