"""What nobody decided in time: it is told so, refused when somebody decides after all, and takes its draft with it."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.supervisor.test_deployment import Host

from hive_contracts.agents import Desired
from hive_contracts.approvals import ApprovalState, Decision, ResolveApproval
from hive_contracts.drafts import RequestSpawn
from hive_contracts.envelope import Envelope
from hive_contracts.errors import Refused
from hive_contracts.models import AgentConfig
from hive_contracts.wishes import AGENT_SOURCE
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter
from hive_supervisor.approvals.approvals import Approvals
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Configs

pytestmark = pytest.mark.system


class Nobody(Host):
    """No agent is there."""

    def wanted(self, name: str) -> Desired | None:
        return None

    def config(self, name: str) -> AgentConfig | None:
        return None


@pytest.mark.parametrize("by_clock", [True, False])
def test_what_nobody_decided_in_time_cannot_be_decided_any_more(tmp_path: Path, *, by_clock: bool) -> None:
    async def main() -> None:
        with closing(ApprovalWriter(tmp_path / "approvals.sqlite")) as store:
            ledger, configs = Ledger(store, MemoryBus()), Configs(tmp_path / "configs", Nobody(), store)
            approvals = Approvals(ledger, configs, Nobody(), approved=lambda _: asyncio.Event(), ttl_s=1e-6)
            wish = Envelope.of(RequestSpawn(name="lin"), source=f"{AGENT_SOURCE}hm1nd", id="w")
            asked = await approvals.answer(wish)
            waiting = store.get(asked["approval"])
            assert waiting
            assert waiting.expires_at - waiting.requested_at < timedelta(seconds=1)
            assert waiting.expires_at <= datetime.now(UTC)
            if by_clock:
                assert await approvals.expire() is None
            decision = ResolveApproval(id=waiting.id, decision=Decision.APPROVE, commit=waiting.commit)
            with pytest.raises(Refused, match="expired"):
                await approvals.answer(Envelope.of(decision, source="dashboard"))
            ended = store.get(waiting.id)
            assert ended
            assert ended.state is ApprovalState.EXPIRED
            assert store.drafts() == [], "the name is free again"
            assert not configs.repository("lin").path.exists()

    asyncio.run(main())
