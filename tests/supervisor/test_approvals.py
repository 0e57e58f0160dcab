"""From a manager's commit to an agent that runs it: real git, real Redis, a supervisor in the test's loop."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.clone import Clone, clone_of
from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.supervisor.test_wishes import wish
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts.agents import CommandDone, CommandFailed, ContainerStatus, SpawnAgent, StartAgent, StopAgent
from hive_contracts.approvals import ApprovalState, ApprovalView, Decision, FetchConfig, RequestApply, ResolveApproval
from hive_contracts.drafts import DraftView, RequestSpawnCommit
from hive_contracts.envelope import Envelope
from hive_contracts.models import AgentConfig
from hive_runtime.records.approvals import ApprovalReader
from hive_supervisor.approvals import requests
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.runtimes.memory import MemoryRuntime

pytestmark = pytest.mark.system


class Desk:
    """The manager's clone and the operator's decisions, about one agent."""

    def __init__(self, hive: Hive, folder: Path, agent: str = "ada") -> None:
        self.hive = hive
        self.folder = folder
        self.agent = agent
        self.reader = ApprovalReader(hive.data_dir / "approvals.sqlite")
        self.repository = ConfigRepository(hive.data_dir / "configs" / f"{agent}.git")
        self.clone: Clone | None = None
        self.asked = 0

    async def fetch(self) -> Clone:
        answer = await wish(self.hive, FetchConfig(name=self.agent), key=f"{self.agent}f{self.asked}")
        assert answer.type == CommandDone.TYPE, answer.data
        self.asked += 1
        return clone_of(base64.b64decode(answer.data["result"]["bundle"]), self.folder / f"{self.agent}{self.asked}")

    async def ask(self, clone: Clone, commit: str, *, key: str = "") -> Envelope:
        self.asked += 1
        bundle = base64.b64encode(clone.bundle(commit)).decode()
        request = RequestApply(name=self.agent, commit=commit, bundle=bundle, description="better")
        return await wish(self.hive, request, key=key or f"{self.agent}a{self.asked}")

    async def ask_spawn(self, clone: Clone, commit: str) -> dict[str, Any]:
        self.asked += 1
        bundle = base64.b64encode(clone.bundle(commit)).decode()
        request = RequestSpawnCommit(name=self.agent, commit=commit, bundle=bundle, description="new")
        return asked(await wish(self.hive, request, key=f"{self.agent}s{self.asked}"))

    async def decide(self, approval: str, commit: str, decision: Decision = Decision.APPROVE) -> Envelope:
        return await self.hive.command(ResolveApproval(id=approval, decision=decision, commit=commit, note="so"))

    def approval(self, identity: str) -> ApprovalView:
        found = self.reader.get(identity)
        assert found
        return found

    def draft(self) -> DraftView | None:
        return next((draft for draft in self.reader.drafts() if draft.name == self.agent), None)

    async def until(self, identity: str, state: ApprovalState) -> ApprovalView:
        async def there() -> bool:
            return self.approval(identity).state is state

        await eventually(there)
        return self.approval(identity)


def at_a_desk(redis: RedisServer, path: Path, story: Callable[[Desk], Awaitable[None]]) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="ada", config=AgentConfig(model="sonnet")))
        await story(Desk(hive, path))

    on_hive(redis, path, scenario)


def asked(answer: Envelope) -> dict[str, Any]:
    assert answer.type == CommandDone.TYPE, answer.data
    found: dict[str, Any] = answer.data["result"]
    return found


def test_an_approved_commit_is_deployed_and_main_moves(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        assert (clone.path / "agent.toml").read_text() == 'model = "sonnet"\n'
        sha = clone.write(agent_toml='model = "opus"\nrecipients = ["hm1nd"]\n')
        found = asked(await desk.ask(clone, sha))
        waiting = desk.approval(found["approval"])
        assert (waiting.state, waiting.commit, waiting.description) == (ApprovalState.PENDING, sha, "better")
        assert '+model = "opus"' in desk.reader.diff(waiting.id)
        assert (await desk.hive.record("ada")).config.model == "sonnet", "nothing changes before it is approved"
        asked(await desk.decide(waiting.id, sha))
        await desk.until(waiting.id, ApprovalState.DEPLOYED)
        config = (await desk.hive.record("ada")).config
        assert (config.model, config.recipients) == ("opus", ("hm1nd",))
        assert desk.repository.main() == desk.repository.tagged(Tag.DEPLOYED, waiting.id) == sha
        assert [spec.name for spec in desk.hive.runtime.started].count("ada") == 2

    at_a_desk(redis, tmp_path, story)


@pytest.mark.parametrize(
    ("decision", "state"),
    [(Decision.DENY, ApprovalState.DENIED), (Decision.REQUEST_CHANGES, ApprovalState.CHANGES_REQUESTED)],
)
def test_what_is_denied_changes_nothing_and_is_kept_with_its_note(
    redis: RedisServer, tmp_path: Path, decision: Decision, state: ApprovalState
) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        found = asked(await desk.ask(clone, sha))
        asked(await desk.decide(found["approval"], sha, decision))
        decided = desk.approval(found["approval"])
        assert (decided.state, decided.note) == (state, "so")
        assert desk.repository.note(Tag.DENIED, decided.id) == "so"
        again = await desk.decide(decided.id, sha)
        assert again.type == CommandFailed.TYPE
        assert "already" in again.data["reason"]
        assert (await desk.hive.record("ada")).config.model == "sonnet"

    at_a_desk(redis, tmp_path, story)


def test_the_same_request_again_is_the_same_approval(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        first, second = [asked(await desk.ask(clone, sha, key="same")) for _ in range(2)]
        assert first == second
        assert len(desk.reader.pending()) == 1

    at_a_desk(redis, tmp_path, story)


def test_who_asks_for_what_waits_already_gets_that_and_asks_anew_once_it_is_decided(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_PENDING", 1)

    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        first = asked(await desk.ask(clone, sha, key="first"))
        again = await asyncio.gather(*(desk.ask(clone, sha, key=f"again-{number}") for number in range(5)))
        for answer in again:
            assert asked(answer) == first | {"asked_before": "pending"}
        assert [one.id for one in desk.reader.pending()] == [first["approval"]]
        assert desk.repository.tags(Tag.PROPOSAL) == [first["approval"]]
        asked(await desk.decide(first["approval"], sha, Decision.DENY))
        told = asked(await desk.ask(clone, sha, key="again-3"))
        assert told == first | {"asked_before": "denied"}, "the same key is the same request, whatever came since"
        assert not desk.reader.pending()
        anew = asked(await desk.ask(clone, sha, key="anew"))
        assert anew["approval"] != first["approval"]
        assert "asked_before" not in anew

    at_a_desk(redis, tmp_path, story)


def test_the_same_commit_on_another_base_is_another_request(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        one = clone.write(agent_toml='model = "opus"\n')
        two = clone.write(agent_toml='model = "haiku"\n')
        of_both = asked(await desk.ask(clone, two))
        first = asked(await desk.ask(clone, one))
        asked(await desk.decide(first["approval"], one))
        await desk.until(first["approval"], ApprovalState.DEPLOYED)
        second = asked(await desk.ask(clone, two))
        assert second["approval"] != of_both["approval"], "that one can only be void by now"
        asked(await desk.decide(second["approval"], two))
        await desk.until(second["approval"], ApprovalState.DEPLOYED)

    at_a_desk(redis, tmp_path, story)


def test_of_two_on_the_same_base_the_second_is_void(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        base = clone.git("rev-parse", "HEAD")
        one = clone.write(agent_toml='model = "opus"\n')
        first = asked(await desk.ask(clone, one))
        clone.git("checkout", "--quiet", "--detach", base)
        two = clone.write(agent_toml='model = "haiku"\n')
        second = asked(await desk.ask(clone, two))
        asked(await desk.decide(first["approval"], one))
        await desk.until(first["approval"], ApprovalState.DEPLOYED)
        refused = await desk.decide(second["approval"], two)
        assert "is void" in refused.data["reason"]
        assert desk.approval(second["approval"]).state is ApprovalState.VOID
        assert desk.repository.main() == one

    at_a_desk(redis, tmp_path, story)


def test_a_decision_about_another_commit_is_refused(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        found = asked(await desk.ask(clone, sha))
        refused = await desk.decide(found["approval"], "0" * 40)
        assert "look again" in refused.data["reason"]
        assert desk.approval(found["approval"]).state is ApprovalState.PENDING
        nobody = await desk.decide("a-none", sha)
        assert nobody.data["code"] == "not_found"

    at_a_desk(redis, tmp_path, story)


def test_a_hostile_or_mistaken_commit_never_reaches_the_operator(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        wrong = clone.write(agent_toml='netwrk = "none"\n')
        refused = await desk.ask(clone, wrong)
        assert "agent.toml:1: netwrk: no such key" in refused.data["reason"]
        same = clone.write(agent_toml='model = "sonnet"\n')
        assert "changes nothing" in (await desk.ask(clone, same)).data["reason"]
        assert desk.reader.pending() == []
        assert set(desk.repository.all_tags()) == set(), "nothing of it is kept"

    at_a_desk(redis, tmp_path, story)


def test_an_agent_that_is_stopped_gets_it_at_its_next_start(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.hive.command(StopAgent(name="ada"))
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        found = asked(await desk.ask(clone, sha))
        asked(await desk.decide(found["approval"], sha))
        await desk.until(found["approval"], ApprovalState.DEPLOYED)
        assert [spec.name for spec in desk.hive.runtime.started].count("ada") == 1
        await desk.hive.command(StartAgent(name="ada"))
        assert desk.hive.runtime.started[-1].environment["HIVE_MODEL"] == "opus"

    at_a_desk(redis, tmp_path, story)


def test_one_that_does_not_come_up_with_it_gets_back_what_ran_before(redis: RedisServer, tmp_path: Path) -> None:
    async def main() -> None:
        runtime = MemoryRuntime(program=lambda spec: 3 if spec.environment["HIVE_MODEL"] == "broken" else None)
        async with asyncio.timeout(30), supervisor(tmp_path, redis.address, runtime) as hive:
            await hive.command(SpawnAgent(name="ada", config=AgentConfig(model="sonnet")))
            desk = Desk(hive, tmp_path)
            clone = await desk.fetch()
            sha = clone.write(agent_toml='model = "broken"\n')
            before = desk.repository.main()
            found = asked(await desk.ask(clone, sha))
            asked(await desk.decide(found["approval"], sha))
            failed = await desk.until(found["approval"], ApprovalState.FAILED)
            assert "did not come up" in failed.error
            assert desk.repository.note(Tag.FAILED, failed.id) == failed.error
            assert desk.repository.main() == before
            record = await hive.record("ada")
            assert (record.config.model, record.container) == ("sonnet", ContainerStatus.RUNNING)
            assert desk.repository.tagged(Tag.DEPLOYED, failed.id) is None

    asyncio.run(main())
