"""Twenty proposals for five agents at once, and all of them approved at once: of those on one base one is deployed."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.supervisor.clone import Clone
from tests.supervisor.test_agreement import looked
from tests.supervisor.test_approvals import Desk, asked
from tests.supervisor.test_service import Hive, supervisor
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

from hive_contracts.agents import SpawnAgent
from hive_contracts.approvals import ApprovalState, Decision, ResolveApproval
from hive_supervisor.runtimes.memory import MemoryRuntime

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

AGENTS = ("ada", "ben", "cleo", "dan", "eve")
EACH = 4


def proposals(clone: Clone) -> list[str]:
    """Commits side by side on what runs."""
    found = []
    for number in range(EACH):
        clone.git("checkout", "--quiet", "--detach", "origin/main")
        found.append(clone.write(agent_toml=f'model = "model-{number}"\n'))
    return found


def test_of_many_proposals_at_once_one_is_deployed_for_each_agent(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        desks = [Desk(hive, tmp_path, name) for name in AGENTS]
        for desk in desks:
            await hive.command(SpawnAgent(name=desk.agent))
        clones = [await desk.fetch() for desk in desks]
        wanted = [
            (desk, clone, sha)
            for desk, clone in zip(desks, clones, strict=True)
            for sha in await asyncio.to_thread(proposals, clone)
        ]
        answers = await asyncio.gather(*(desk.ask(clone, sha) for desk, clone, sha in wanted))
        found = [asked(answer) for answer in answers]
        assert len(desks[0].reader.pending()) == len(AGENTS) * EACH
        await asyncio.gather(
            *(
                Hive(hive.bus, hive.admin, hive.runtime, hive.data_dir, hive.address, hive.cursor).command(
                    ResolveApproval(id=one["approval"], decision=Decision.APPROVE, commit=one["commit"])
                )
                for one in found
            )
        )
        await until(lambda: all(one.state.is_final for one in desks[0].reader.everything()), within_s=60)
        ends = Counter((one.agent, one.state) for one in desks[0].reader.everything() if one.requester != "operator")
        assert ends == Counter(
            {(name, ApprovalState.DEPLOYED): 1 for name in AGENTS}
            | {(name, ApprovalState.VOID): EACH - 1 for name in AGENTS}
        )
        assert looked(tmp_path) == []

    async def main() -> None:
        async with asyncio.timeout(110), supervisor(tmp_path, redis.address, MemoryRuntime()) as hive:
            await scenario(hive)

    asyncio.run(main())
