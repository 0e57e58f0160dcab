"""New agents at a manager's wish: drafts, requests, what the operator makes of them, and what fails."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.supervisor.test_approvals import Desk, asked
from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.supervisor.test_wishes import wish
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import CommandDone, ContainerStatus, Desired, DestroyAgent, SpawnAgent, StopAgent
from hive_contracts.approvals import (
    ApprovalKind,
    ApprovalState,
    BaseKind,
    Decision,
    EditConfig,
    ReadConfig,
    RequestApply,
    RequestPurge,
)
from hive_contracts.drafts import DiscardDraft, RequestSpawn, RequestSpawnDraft, TakeOverDraft
from hive_contracts.models import AgentConfig
from hive_contracts.names import OPERATOR
from hive_supervisor.configs.repository import Tag
from hive_supervisor.runtimes.memory import MemoryRuntime

pytestmark = pytest.mark.system


def drafting(redis: RedisServer, path: Path, story: Callable[[Desk], Awaitable[None]]) -> None:
    """A hive in which the manager has a draft of lin."""

    async def scenario(hive: Hive) -> None:
        desk = Desk(hive, path, "lin")
        made = asked(await wish(hive, RequestSpawnDraft(name="lin"), key="draft"))
        assert made["revives"] is False
        await story(desk)

    on_hive(redis, path, scenario)


async def names(desk: Desk) -> set[str]:
    return set(await desk.hive.bus.hash_all(streams.AGENTS))


def test_a_draft_becomes_an_agent_from_the_very_commit_that_was_approved(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        assert "lin" not in await names(desk), "a draft has no container"
        clone = await desk.fetch()
        assert "seed/" in (clone.path / "agent.toml").read_text()
        (clone.path / "seed").mkdir()
        (clone.path / "seed" / "notes.md").write_text("You keep the garden.")
        sha = clone.write(agent_toml='model = "opus"\ndescription = "the gardener"\n')
        found = await desk.ask_spawn(clone, sha)
        waiting = desk.approval(found["approval"])
        assert (waiting.kind, waiting.commit, waiting.revives) == (ApprovalKind.SPAWN_COMMIT, sha, False)
        (diff,) = desk.reader.diffs(waiting.id)
        assert (diff.base_kind, diff.base) == (BaseKind.RUNNING, "")
        assert "+You keep the garden." in diff.text
        assert '+model = "opus"' in diff.text
        later = clone.write(agent_toml='model = "haiku"\n')
        assert later != sha
        asked(await desk.decide(waiting.id, sha))
        await desk.until(waiting.id, ApprovalState.DEPLOYED)
        record = await desk.hive.record("lin")
        assert (record.config.model, record.container) == ("opus", ContainerStatus.RUNNING)
        (spec,) = [spec for spec in desk.hive.runtime.started if spec.name == "lin"]
        assert [(file.path, file.content) for file in spec.seed] == [("notes.md", b"You keep the garden.")]
        assert desk.repository.main() == desk.repository.tagged(Tag.DEPLOYED, waiting.id) == sha
        assert desk.draft() is None

    drafting(redis, tmp_path, story)


def test_a_name_is_taken_from_the_draft_on(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        again = asked(await wish(desk.hive, RequestSpawnDraft(name="lin"), key="again"))
        assert again["commit"] == desk.repository.main(), "its own author finds it again"
        refused = await desk.hive.command(SpawnAgent(name="lin"))
        assert refused.data["code"] == "agent_exists"
        assert "take it over" in refused.data["reason"]
        assert (
            "request_spawn_commit"
            in (await wish(desk.hive, RequestApply(name="lin", commit="a" * 7, bundle=""))).data["reason"]
        )
        await desk.hive.command(SpawnAgent(name="ada"))
        taken = await wish(desk.hive, RequestSpawnDraft(name="ada"), key="taken")
        assert "already" in taken.data["reason"]

    drafting(redis, tmp_path, story)


def test_a_draft_that_is_discarded_takes_its_requests_with_it(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        found = await desk.ask_spawn(clone, clone.write(agent_toml='model = "opus"\n'))
        asked(await desk.hive.command(DiscardDraft(name="lin")))
        assert desk.approval(found["approval"]).state is ApprovalState.VOID
        assert desk.draft() is None
        assert not desk.repository.path.exists()
        assert (await desk.hive.command(SpawnAgent(name="lin"))).type == CommandDone.TYPE

    drafting(redis, tmp_path, story)


def test_the_operator_takes_a_draft_over_edits_it_and_makes_it(redis: RedisServer, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='model = "opus"\n')
        found = await desk.ask_spawn(clone, sha)
        asked(await desk.hive.command(TakeOverDraft(name="lin")))
        assert desk.approval(found["approval"]).state is ApprovalState.VOID
        draft = desk.draft()
        assert draft
        assert (draft.author, draft.commit) == (OPERATOR, sha)
        refused = await wish(desk.hive, RequestSpawnDraft(name="lin"), key="mine?")
        assert "operator's" in refused.data["reason"]
        held = asked(await desk.hive.command(ReadConfig(name="lin")))
        assert (held["main"], held["text"]) == (sha, 'model = "opus"\n')
        edit = EditConfig(name="lin", before=sha, text='model = "haiku"\n')
        changed = asked(await desk.hive.command(edit))["commit"]
        made = asked(await desk.hive.command(SpawnAgent(name="lin")))
        assert (await desk.hive.record("lin")).config.model == "haiku"
        approval = desk.approval(made["approval"])
        assert (approval.requester, approval.state, approval.commit) == (OPERATOR, ApprovalState.DEPLOYED, changed)
        assert desk.draft() is None

    drafting(redis, tmp_path, story)


def test_one_shot_spawn_uses_the_default_and_a_denied_one_leaves_nothing(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        desk = Desk(hive, tmp_path, "lin")
        first = asked(await wish(hive, RequestSpawn(name="lin", description="gardens"), key="one"))
        assert desk.draft()
        asked(await desk.decide(first["approval"], first["commit"], Decision.DENY))
        assert desk.draft() is None
        assert not desk.repository.path.exists()
        second = asked(await wish(hive, RequestSpawn(name="lin", description="gardens"), key="two"))
        files = desk.reader.agent_files(second["approval"])
        assert files
        assert (files.before, 'description = "gardens"' in files.after) == (None, True)
        asked(await desk.decide(second["approval"], second["commit"]))
        await desk.until(second["approval"], ApprovalState.DEPLOYED)
        assert (await hive.record("lin")).config == AgentConfig()

    on_hive(redis, tmp_path, scenario)


def test_a_draft_of_a_kept_name_says_so_and_brings_it_back(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="lin", config=AgentConfig(model="sonnet")))
        await hive.command(DestroyAgent(name="lin"))
        desk = Desk(hive, tmp_path, "lin")
        assert asked(await wish(hive, RequestSpawnDraft(name="lin"), key="d"))["revives"] is True
        clone = await desk.fetch()
        assert (clone.path / "agent.toml").read_text() == 'model = "sonnet"\n'
        sha = clone.write(agent_toml='model = "opus"\n')
        found = await desk.ask_spawn(clone, sha)
        assert desk.approval(found["approval"]).revives
        assert '-model = "sonnet"' in desk.reader.diff(found["approval"]), "against what was kept"
        asked(await desk.decide(found["approval"], sha))
        await desk.until(found["approval"], ApprovalState.DEPLOYED)
        record = await hive.record("lin")
        assert (record.desired, record.config.model) == (Desired.RUNNING, "opus")

    on_hive(redis, tmp_path, scenario)


@pytest.mark.parametrize("revives", [False, True])
def test_one_that_does_not_come_up_leaves_what_was_before(redis: RedisServer, tmp_path: Path, *, revives: bool) -> None:
    async def main() -> None:
        runtime = MemoryRuntime(program=lambda spec: 3 if spec.environment["HIVE_MODEL"] == "broken" else None)
        async with asyncio.timeout(30), supervisor(tmp_path, redis.address, runtime) as hive:
            if revives:
                await hive.command(SpawnAgent(name="lin", config=AgentConfig(model="sonnet")))
                await hive.command(DestroyAgent(name="lin"))
            desk = Desk(hive, tmp_path, "lin")
            await wish(hive, RequestSpawnDraft(name="lin"), key="d")
            clone = await desk.fetch()
            broken = await desk.ask_spawn(clone, clone.write(agent_toml='model = "broken"\n'))
            asked(await desk.decide(broken["approval"], broken["commit"]))
            failed = await desk.until(broken["approval"], ApprovalState.FAILED)
            assert desk.repository.note(Tag.FAILED, failed.id) == failed.error
            if revives:
                record = await hive.record("lin")
                assert (record.desired, record.config.model) == (Desired.DESTROYED, "sonnet")
            else:
                await eventually(lambda: _is_gone(desk))
            assert desk.draft(), "the draft stays, to be made better"
            better = await desk.ask_spawn(clone, clone.write(agent_toml='model = "opus"\n'))
            asked(await desk.decide(better["approval"], better["commit"]))
            await desk.until(better["approval"], ApprovalState.DEPLOYED)

    asyncio.run(main())


async def _is_gone(desk: Desk) -> bool:
    return "lin" not in await names(desk)


def test_a_purge_that_a_manager_asks_for_is_the_operators_to_approve(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        await hive.command(SpawnAgent(name="lin"))
        desk = Desk(hive, tmp_path, "lin")
        clone = await desk.fetch()
        other = asked(await desk.ask(clone, clone.write(agent_toml='model = "opus"\n')))
        assert "the manager" in (await wish(hive, RequestPurge(name="hm1nd"), key="self")).data["reason"]
        assert (await wish(hive, RequestPurge(name="zoe"), key="zoe")).data["code"] == "unknown_agent"
        found = asked(await wish(hive, RequestPurge(name="lin", description="done"), key="p"))
        waiting = desk.approval(found["approval"])
        assert (waiting.kind, waiting.commit, desk.reader.diffs(waiting.id)) == (ApprovalKind.PURGE, "", ())
        asked(await desk.decide(waiting.id, ""))
        await desk.until(waiting.id, ApprovalState.DEPLOYED)
        assert "lin" not in await names(desk)
        assert not desk.repository.path.exists()
        assert desk.approval(other["approval"]).state is ApprovalState.VOID

    on_hive(redis, tmp_path, scenario)


@pytest.mark.parametrize("kind", [RequestSpawn, RequestPurge])
def test_an_agent_that_is_asked_for_again_waits_once(
    redis: RedisServer, tmp_path: Path, kind: type[RequestSpawn | RequestPurge]
) -> None:
    async def scenario(hive: Hive) -> None:
        desk = Desk(hive, tmp_path, "lin")
        if kind is RequestPurge:
            asked(await hive.command(SpawnAgent(name="lin")))
        first = asked(await wish(hive, kind(name="lin", description="please"), key="one"))
        second = asked(await wish(hive, kind(name="lin", description="now, please"), key="two"))
        assert second == first | {"asked_before": "pending"}
        (waiting,) = desk.reader.pending()
        assert waiting.description == "please"

    on_hive(redis, tmp_path, scenario)


def test_what_the_operator_makes_is_kept_as_an_approval(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        desk = Desk(hive, tmp_path)
        await hive.command(SpawnAgent(name="ada", config=AgentConfig(model="sonnet")), command_id="c-1")
        await hive.command(SpawnAgent(name="ada"), command_id="c-2")
        await hive.command(StopAgent(name="ada"))
        (one,) = desk.reader.recent()
        assert (one.kind, one.requester, one.state) == (ApprovalKind.SPAWN, OPERATOR, ApprovalState.DEPLOYED)
        files = desk.reader.agent_files(one.id)
        assert files
        assert files.after == 'model = "sonnet"\n'

    on_hive(redis, tmp_path, scenario)
