"""Dead letters for the operator: listed with their reasons, counted, and sent again by a button or a call."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.dashboard.opened import Opened, opened
from tests.support.waiting import eventually, until

from hive_contracts.agents import TurnOutcome
from hive_runtime.memory_bus import MemoryBus

Scenario = Callable[[Opened, str], Awaitable[None]]


def _with_a_dead_letter(tmp_path: Path, scenario: Scenario) -> None:
    """ada's turns with a message of the operator's fail until it is given up; `scenario` gets its id."""

    async def run() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            for name in ("hm1nd", "ada"):
                await hive.scene.agent(name)
                await hive.sees_agent(name)
            sent = await hive.api.post("/api/v1/messages", json={"to": "ada", "body": "<b>poison</b>"})
            entry_id, message = await hive.scene.take("ada")
            for _ in range(5):
                turn = await hive.scene.begin("ada", message)
                await turn.end(entry_id, TurnOutcome.ENGINE_CRASHED, reason="exit status 9")
            await hive.message(message.id, "dead")
            assert sent.json()["id"] == message.id
            await until(lambda: hive.dashboard.parts.snapshots.current.dead == 1)
            await scenario(hive, message.id)

    asyncio.run(run())


def test_the_api_lists_it_with_its_reason_and_sends_it_again_once(tmp_path: Path) -> None:
    async def scenario(hive: Opened, dead: str) -> None:
        (letter,) = (await hive.api.get("/api/v1/dead-letters")).json()["dead_letters"]
        assert letter["message"]["id"] == dead
        assert letter["reason"] == "5 tries failed, the last with: engine_crashed: exit status 9"
        assert [step["state"] for step in letter["message"]["steps"]].count("failed") == 5
        first = await hive.api.post(f"/api/v1/dead-letters/{dead}/redrive")
        assert (first.status_code, first.json()) == (200, {"id": dead, "state": "delivered"})
        assert (await hive.api.get("/api/v1/dead-letters")).json()["dead_letters"] == []
        await hive.message(dead, "delivered")
        again = await hive.api.post(f"/api/v1/dead-letters/{dead}/redrive")
        assert (again.status_code, again.json()["code"]) == (409, "refused")
        unknown = await hive.api.post("/api/v1/dead-letters/m-unknown/redrive")
        assert unknown.status_code == 404
        _, back = await hive.scene.take("ada")
        assert back.id == dead

    _with_a_dead_letter(tmp_path, scenario)


def test_the_page_lists_it_and_its_button_sends_it_again(tmp_path: Path) -> None:
    async def scenario(hive: Opened, dead: str) -> None:
        await hive.sign_in()
        home = (await hive.browser.get("/")).text
        assert (
            '<a href="/dead-letters" id="nav-dead">Dead letters <span class="pill" data-count="dead">1</span></a>'
            in home
        )
        page = (await hive.browser.get("/dead-letters")).text
        assert "&lt;b&gt;poison&lt;/b&gt;" in page
        assert "5 tries failed, the last with: engine_crashed: exit status 9" in page
        done = await hive.post(f"/dead-letters/{dead}/redrive")
        assert (done.status_code, done.headers["location"]) == (303, "/dead-letters")
        page = (await hive.browser.get("/dead-letters")).text
        assert "back in its recipient" in page
        assert "No dead letters." in page
        await hive.post(f"/dead-letters/{dead}/redrive")
        assert "is no dead letter" in (await hive.browser.get("/dead-letters")).text
        assert 'id="nav-dead" hidden>' in (await hive.browser.get("/")).text

    _with_a_dead_letter(tmp_path, scenario)


def test_with_htmx_the_letter_leaves_its_place(tmp_path: Path) -> None:
    async def scenario(hive: Opened, dead: str) -> None:
        await hive.sign_in()
        headers = {"origin": "http://127.0.0.1:7000", "hx-request": "true", "x-csrf-token": await hive.csrf()}
        headers["hx-current-url"] = "http://127.0.0.1:7000/dead-letters"
        done = await hive.browser.post(f"/dead-letters/{dead}/redrive", headers=headers)
        assert done.status_code == 200
        assert f'<div id="dead-{dead}" hx-swap-oob="delete"></div>' in done.text

    _with_a_dead_letter(tmp_path, scenario)


def test_the_operator_hears_of_it_and_cannot_answer_the_system(tmp_path: Path) -> None:
    async def scenario(hive: Opened, dead: str) -> None:
        async def told() -> bool:
            inbox = (await hive.api.get("/api/v1/agents/operator/inbox")).json()["messages"]
            return any(message["sender"] == "system" and dead in message["body"] for message in inbox)

        await eventually(told)
        await until(lambda: hive.dashboard.parts.snapshots.current.operator_unread == 1)
        await hive.sign_in()
        assert "<summary>Reply</summary>" not in (await hive.browser.get("/")).text
        refused = await hive.api.post("/api/v1/messages", json={"to": "system", "body": "thanks"})
        assert refused.status_code == 404

    _with_a_dead_letter(tmp_path, scenario)
