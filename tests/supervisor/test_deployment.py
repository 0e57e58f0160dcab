"""A deployment without a hive: what it stands on is away, what it asks for is refused, and what it gives back."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hive_contracts.agents import ContainerStatus, Desired
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.errors import HiveError, Unavailable
from hive_contracts.models import AgentConfig
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter
from hive_supervisor.approvals.deployment import Deployment
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Configs
from hive_supervisor.configs.repository import Tag
from hive_supervisor.errors import CannotStart, EngineLacks

pytestmark = pytest.mark.system


@dataclass
class Host:
    """An agent `ada`, who runs; `troubles` come one after the other before it works."""

    troubles: list[HiveError] = field(default_factory=list)
    given: list[AgentConfig] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    async def configure(self, name: str, config: AgentConfig) -> ContainerStatus | None:
        self.given.append(config)
        if self.troubles:
            raise self.troubles.pop(0)
        return ContainerStatus.RUNNING

    async def spawn(self, name: str, description: str, config: AgentConfig) -> ContainerStatus | None:
        return await self.configure(name, config)

    async def unspawn(self, name: str, kept: AgentConfig | None) -> None:
        self.given.append(kept or AgentConfig())

    async def purge(self, name: str) -> None:
        await self.configure(name, AgentConfig())

    async def lacks(self, name: str, packages: Sequence[str]) -> list[str]:
        return self.lacking

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        return ("last words",)

    def wanted(self, name: str) -> Desired | None:
        return Desired.RUNNING

    def config(self, name: str) -> AgentConfig | None:
        return AgentConfig()

    def kept(self, name: str) -> AgentConfig | None:
        return None


def deployed(host: Host, folder: Path, text: str = 'model = "opus"\n', *, lose: bool = False) -> ApprovalView:
    """What becomes of an approved commit of `text`; `lose`: its repository is gone."""

    async def main() -> ApprovalView:
        with closing(ApprovalWriter(folder / "approvals.sqlite")) as store:
            ledger, configs = Ledger(store, MemoryBus()), Configs(folder / "configs", host, store)
            repository = configs.opened("ada")
            base = str(repository.main())
            sha = repository.commit({"agent.toml": text.encode()}, parent=base, author="hm1nd", message="x")
            approval = _approval(sha, base)
            await ledger.add(approval)
            if lose:
                configs.forget("ada")
            deployment = Deployment(host, timeout_s=5)
            running = asyncio.ensure_future(deployment.run(ledger, configs))
            async with asyncio.timeout(30):
                await deployment.add(approval).wait()
            running.cancel()
            found = store.get(approval.id)
            assert found
            assert lose or (repository.main() == sha) == (found.state is ApprovalState.DEPLOYED)
            assert lose or bool(repository.tagged(Tag.FAILED, found.id)) == (found.state is ApprovalState.FAILED)
            return found

    return asyncio.run(main())


def _approval(sha: str, base: str) -> ApprovalView:
    now = datetime.now(UTC)
    return ApprovalView(
        id="a-1",
        kind=ApprovalKind.APPLY_COMMIT,
        agent="ada",
        requester="hm1nd",
        state=ApprovalState.APPROVED,
        commit=sha,
        base=base,
        requested_at=now,
        expires_at=now,
    )


def test_while_what_it_stands_on_is_away_it_waits_and_then_goes_on(tmp_path: Path) -> None:
    host = Host([Unavailable("the store is away"), Unavailable("no git")])
    assert deployed(host, tmp_path).state is ApprovalState.DEPLOYED
    assert [config.model for config in host.given] == ["opus"] * 3


@pytest.mark.parametrize("trouble", [CannotStart("it is broken"), EngineLacks("no such image")])
def test_what_is_refused_fails_and_what_ran_is_given_back(tmp_path: Path, trouble: HiveError) -> None:
    host = Host([trouble])
    failed = deployed(host, tmp_path)
    assert (failed.state, failed.error) == (ApprovalState.FAILED, str(trouble))
    assert [config.model for config in host.given] == ["opus", None]


def test_a_container_that_lacks_a_package_fails_and_says_which(tmp_path: Path) -> None:
    host = Host(lacking=["ripgrep"])
    failed = deployed(host, tmp_path, 'packages = ["git", "ripgrep"]\n')
    assert failed.state is ApprovalState.FAILED
    assert "lacks ripgrep" in failed.error
    assert host.given[-1] == AgentConfig()


def test_what_breaks_off_fails_alone(tmp_path: Path) -> None:
    class Broken(Host):
        async def configure(self, name: str, config: AgentConfig) -> ContainerStatus | None:
            raise KeyError(name)

    async def main() -> None:
        with closing(ApprovalWriter(tmp_path / "approvals.sqlite")) as store:
            host = Broken()
            ledger, configs = Ledger(store, MemoryBus()), Configs(tmp_path / "configs", host, store)
            repository = configs.opened("ada")
            base = str(repository.main())
            sha = repository.commit({"agent.toml": b'model = "opus"'}, parent=base, author="hm1nd", message="x")
            await ledger.add(_approval(sha, base))
            deployment = Deployment(host, timeout_s=5)
            running = asyncio.ensure_future(deployment.run(ledger, configs))
            async with asyncio.timeout(30):
                await deployment.add(_approval(sha, base)).wait()
            assert not running.done(), "others are deployed as before"
            running.cancel()
            found = store.get("a-1")
            assert found
            assert (found.state, "broke off" in found.error) == (ApprovalState.FAILED, True)

    asyncio.run(main())


def test_a_repository_that_is_gone_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    lost = deployed(Host(), tmp_path, lose=True)
    assert (lost.state, "is gone" in lost.error) == (ApprovalState.FAILED, True)
