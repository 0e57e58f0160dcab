"""The queue of what waits for the operator, and what open pages are told of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.opened import Opened, opened
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import AgentState, ContainerStatus, Desired, Engine, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope
from hive_contracts.permissions import PermissionRequest
from hive_contracts.questions import AskQuestion, QuestionView
from hive_dashboard.hub import Cursor
from hive_dashboard.needs import NeedKind, needs_of
from hive_dashboard.registry import AgentView
from hive_dashboard.snapshot import Snapshot
from hive_dashboard.updates import HOME
from hive_runtime.memory_bus import MemoryBus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def agent(name: str = "ada", state: TurnState | None = TurnState.IDLE, **facts: Any) -> AgentView:
    base = {
        "name": name,
        "engine": Engine.SCRIPTED,
        "container": ContainerStatus.RUNNING,
        "container_since": NOW,
        "created_at": NOW,
        "state": AgentState(agent=name, state=state, since=NOW) if state else None,
    }
    return AgentView(**(base | facts))


def question(number: int, **facts: Any) -> QuestionView:
    asked_at = NOW + timedelta(minutes=number)
    return QuestionView(id=f"q-{number}", asker="ada", to="operator", question="?", asked_at=asked_at, **facts)


def test_what_an_agent_waits_for_right_now_stands_first_and_the_oldest_of_it() -> None:
    wanted = PermissionRequest(tool="Bash", command="ls", pattern="")
    now = Snapshot(
        agents=(agent("lin", TurnState.NEEDS_LOGIN), agent("eve", container=ContainerStatus.QUARANTINED)),
        questions=(question(2), question(1), question(3, permission=wanted)),
    )
    assert [need.key for need in needs_of(now)] == ["q-3", "q-1", "q-2", "login-lin", "crash-eve"]


@pytest.mark.parametrize(
    ("facts", "kinds"),
    [
        ({"container": ContainerStatus.CRASHED}, [NeedKind.CRASH]),
        ({"container": ContainerStatus.CRASHED, "desired": Desired.STOPPED}, []),
        ({"container": ContainerStatus.STOPPED, "desired": Desired.STOPPED}, []),
        ({"state": TurnState.NEEDS_LOGIN}, [NeedKind.LOGIN]),
        ({"state": TurnState.NEEDS_LOGIN, "container": ContainerStatus.QUARANTINED}, [NeedKind.CRASH]),
        ({"state": TurnState.RATE_LIMITED}, [NeedKind.LIMITS]),
        ({"state": TurnState.PAUSED}, []),
        ({"state": None}, []),
    ],
)
def test_an_agent_needs_the_operator_only_where_it_cannot_go_on_by_itself(facts: Any, kinds: list[NeedKind]) -> None:
    state = facts.pop("state", TurnState.IDLE)
    assert [need.kind for need in needs_of(Snapshot(agents=(agent(state=state, **facts),)))] == kinds


def test_agents_that_wait_for_a_limit_are_one_item() -> None:
    limited = tuple(agent(name, TurnState.RATE_LIMITED) for name in ("ada", "eve"))
    (need,) = needs_of(Snapshot(agents=limited))
    assert need.agents == limited


def test_an_item_is_drawn_anew_only_when_what_it_shows_changes() -> None:
    def face(**facts: Any) -> object:
        (need,) = needs_of(Snapshot(agents=(agent(container=ContainerStatus.CRASHED, **facts),)))
        return need.face

    assert face() == face(unread=3)
    assert face() != face(detail="exit status 1")


async def _ask(hive: Opened) -> str:
    envelope = Envelope.of(AskQuestion(question="red or blue?"), source="hm1nd")
    await hive.scene.bus.append(streams.outbox("hm1nd"), envelope)
    await until(lambda: hive.dashboard.parts.snapshots.current.questions)
    return hive.dashboard.parts.snapshots.current.questions[0].id


async def _die(hive: Opened) -> str:
    await hive.scene.send("operator", "hm1nd", "poison")
    entry_id, message = await hive.scene.take("hm1nd")
    for _ in range(5):
        await (await hive.scene.begin("hm1nd", message)).end(entry_id, TurnOutcome.ENGINE_CRASHED)
    await until(lambda: hive.dashboard.parts.snapshots.current.dead_letters)
    return message.id


def test_open_pages_see_items_come_and_go_and_the_count_of_them_on_every_page(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.state("hm1nd")
            await hive.sees_agent("hm1nd")
            hub = hive.dashboard.parts.hub
            home = hub.follow(HOME, Cursor.parse(str(hub.cursor(HOME))))
            other = hub.follow("agent:hm1nd", Cursor.parse(str(hub.cursor("agent:hm1nd"))))
            seen = {"home": "", "other": ""}

            async def reads(where: str, stream: Any, text: str) -> None:
                while text not in seen[where]:
                    seen[where] += (await anext(stream)).decode()

            asked = await _ask(hive)
            await reads("home", home, f'id="need-{asked}"')
            await reads("other", other, "event: needs\ndata: 1\n")
            dead = await _die(hive)
            await reads("home", home, 'id="need-dead-letters"')
            await hive.sign_in()
            page = (await hive.browser.get("/")).text
            assert "<title>(2) Hive" in page
            assert f'action="/dead-letters/{dead}/redrive"' in page
            await hive.post(f"/dead-letters/{dead}/redrive")
            await reads("home", home, "No dead letters are left.")
            await hive.post(f"/answer-question/{asked}", text="blue")
            await reads("home", home, "blue")
            await reads("other", other, "event: needs\ndata: 0\n")

    asyncio.run(main())
