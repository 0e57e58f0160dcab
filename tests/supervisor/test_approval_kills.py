"""kill -9 of a real supervisor before the lines of each flow: it ends deployed, failed and restored, or as was decided;
and book, tags, `main`, drafts, agents and events agree."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.supervisor.clone import Clone
from tests.supervisor.test_agreement import looked
from tests.supervisor.test_approvals import Desk, asked
from tests.supervisor.test_service import Hive
from tests.supervisor.test_wishes import wish
from tests.support.killed_at.points import Point, environment, points, strike_at
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import Desired, SpawnAgent
from hive_contracts.approvals import ApprovalRequested, ApprovalResolved, ApprovalState, ApprovalView, Decision
from hive_contracts.drafts import DiscardDraft, RequestSpawnDraft
from hive_contracts.envelope import Envelope
from hive_contracts.models import AgentConfig
from hive_runtime.process import die_with_parent
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_supervisor.approvals.approvals import Approvals
from hive_supervisor.approvals.deployment import _Deployed
from hive_supervisor.approvals.drafts import Drafts
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.approvals.requests import Requests
from hive_supervisor.commands import Commands
from hive_supervisor.configs.repository import Tag
from hive_supervisor.fleet import Fleet
from hive_supervisor.runtimes.memory import MemoryRuntime

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ROOT: Final = Path(__file__).parents[2]

ASKING: Final = [
    *points(Requests._propose, only=("await self._ledger.add",)),
    *points(Ledger.tell, only=("await self._append",)),
    *points(Commands._have_answered, only=("await persist",)),
]
SAYING_NO: Final = [
    *points(Ledger.move, only=("await self.tell",)),
    *points(Approvals._follow, only=("await asyncio.to_thread(tag)",)),
]
_STEPS: Final = (
    "await _in_thread(repository.tag,",
    "if failure",
    "await _in_thread(lambda",
    "await self._end(ApprovalState.D",
)
DEPLOYING: Final = [
    *points(Approvals._follow, only=("self._approved",)),
    *points(_Deployed._deploy, only=_STEPS),
    *points(Fleet.configure, only=("await self.settled",)),
]
FAILING: Final = [
    *points(_Deployed._fail, only=("await",)),
    *points(_Deployed._give_back, only=("async with",)),
]
SPAWNING: Final = [
    *points(Fleet.spawn, only=("await self.settled",)),
    *points(Ledger.end_draft, only=("await", "self.store")),
]
UNSPAWNING: Final = [
    *points(Fleet.unspawn, only=("await",)),
    *points(Fleet._apply_if_there, only=("await self.settled",)),
]
DISCARDING: Final = points(Drafts.drop, only=("await",))


@dataclass(frozen=True, slots=True)
class World:
    """A supervisor that comes back whenever it is killed."""

    flow: "Flow"
    redis: RedisServer
    data_dir: Path
    plan: Path


@contextmanager
def supervised(world: World) -> Iterator[None]:
    address = world.redis.address
    words = [str(world.data_dir), address.url, str(address.username), str(address.password)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.memory_supervisor", *words],
        cwd=ROOT,
        env={**os.environ, **_environment(world.plan, [point for _, point in CASES])},
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _environment(plan: Path, chosen: list[Point]) -> dict[str, str]:
    found = environment(plan, chosen)
    return found | {"PYTHONPATH": os.pathsep.join((found["PYTHONPATH"], str(ROOT)))}


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for each flow: what starts again with a supervisor stays little."""
    folder = tmp_path_factory.mktemp("killed")
    with redis_server() as redis:
        it = World(request.param, redis, folder / "data", folder / "plan")
        it.data_dir.mkdir()
        with supervised(it):
            yield it


Strike = Callable[[], None]
Flow = Callable[[Desk, Strike], Awaitable[ApprovalView]]


async def _asked(desk: Desk, text: str, strike: Strike | None = None) -> tuple[Clone, dict[str, Any]]:
    await desk.hive.command(SpawnAgent(name=desk.agent, config=AgentConfig(model="sonnet")))
    clone = await desk.fetch()
    sha = clone.write(agent_toml=text)
    if strike:
        strike()
    return clone, asked(await desk.ask(clone, sha))


async def _drafted(desk: Desk, text: str) -> dict[str, Any]:
    asked(await wish(desk.hive, RequestSpawnDraft(name=desk.agent), key=f"{desk.agent}-draft"))
    clone = await desk.fetch()
    return await desk.ask_spawn(clone, clone.write(agent_toml=text))


async def _decided(
    desk: Desk, found: dict[str, Any], state: ApprovalState, decision: Decision = Decision.APPROVE
) -> ApprovalView:
    asked(await desk.decide(found["approval"], found["commit"], decision))
    return await desk.until(found["approval"], state)


async def ask(desk: Desk, strike: Strike) -> ApprovalView:
    _, found = await _asked(desk, 'model = "opus"\n', strike)
    return await desk.until(found["approval"], ApprovalState.PENDING)


async def deploy(desk: Desk, strike: Strike) -> ApprovalView:
    _, found = await _asked(desk, 'model = "opus"\n')
    strike()
    deployed = await _decided(desk, found, ApprovalState.DEPLOYED)
    assert (await desk.hive.record(desk.agent)).config.model == "opus"
    assert desk.repository.main() == found["commit"]
    return deployed


async def say_no(desk: Desk, strike: Strike) -> ApprovalView:
    _, found = await _asked(desk, 'model = "opus"\n')
    strike()
    denied = await _decided(desk, found, ApprovalState.DENIED, Decision.DENY)
    assert desk.repository.note(Tag.DENIED, denied.id) == "so"
    return denied


async def fail(desk: Desk, strike: Strike) -> ApprovalView:
    _, found = await _asked(desk, 'model = "broken"\n')
    strike()
    failed = await _decided(desk, found, ApprovalState.FAILED)
    assert (await desk.hive.record(desk.agent)).config.model == "sonnet"
    return failed


async def spawn(desk: Desk, strike: Strike) -> ApprovalView:
    found = await _drafted(desk, 'model = "opus"\n')
    strike()
    deployed = await _decided(desk, found, ApprovalState.DEPLOYED)
    record = await desk.hive.record(desk.agent)
    assert (record.config.model, record.desired) == ("opus", Desired.RUNNING)
    assert desk.draft() is None
    return deployed


async def unspawn(desk: Desk, strike: Strike) -> ApprovalView:
    found = await _drafted(desk, 'model = "broken"\n')
    strike()
    failed = await _decided(desk, found, ApprovalState.FAILED)
    assert desk.agent not in await desk.hive.bus.hash_all(streams.AGENTS)
    assert desk.draft(), "it can be made better and asked for again"
    return failed


async def discard(desk: Desk, strike: Strike) -> ApprovalView:
    found = await _drafted(desk, 'model = "opus"\n')
    strike()
    asked(await desk.hive.command(DiscardDraft(name=desk.agent)))
    assert desk.draft() is None
    assert not desk.repository.path.exists()
    return await desk.until(found["approval"], ApprovalState.VOID)


FLOWS: Final[dict[Flow, list[Point]]] = {
    ask: ASKING,
    say_no: SAYING_NO,
    deploy: DEPLOYING,
    fail: FAILING,
    spawn: SPAWNING,
    unspawn: UNSPAWNING,
    discard: [*DISCARDING],
}
CASES: Final = [(flow, point) for flow, found in FLOWS.items() for point in found]


@pytest.mark.parametrize(
    ("world", "point"), CASES, indirect=["world"], ids=[f"{flow.__name__} {point}" for flow, point in CASES]
)
def test_what_was_cut_off_ends_well_and_all_agrees(world: World, tmp_path: Path, point: Point) -> None:
    async def story() -> None:
        bus = RedisBus(world.redis.address)
        async with asyncio.timeout(60), aclosing(bus), aclosing(RedisAdmin(world.redis.address)) as admin:
            cursor = await bus.last_id(streams.EVENTS)
            hive = Hive(bus, admin, MemoryRuntime(), world.data_dir, world.redis.address, cursor)
            desk = Desk(hive, tmp_path, f"a{point.line}")
            ended = await world.flow(desk, lambda: strike_at(world.plan, point))
            await until(lambda: not world.plan.exists())
            await until(lambda: looked(world.data_dir) == [])
            assert (await _told(bus, cursor, ended.id))[-1] is ended.state

    asyncio.run(story())


async def _told(bus: RedisBus, cursor: str, approval: str) -> list[ApprovalState]:
    """The states of `approval` that everybody was told since, each once."""
    found: list[ApprovalState] = []
    async with aclosing(bus.reader()) as reader:
        for entry in await reader.read_after({streams.EVENTS: cursor}, count=1000, block_ms=1):
            envelope = Envelope.decode(entry.fields)
            if envelope.type in (ApprovalRequested.TYPE, ApprovalResolved.TYPE):
                view = ApprovalView.model_validate(envelope.data["approval"])
                found += [view.state] if view.id == approval and view.state not in found else []
    return found
