"""What is done is written down: who, what, to what, and what came of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.dashboard.opened import Opened, client, opened
from tests.support.waiting import eventually

from hive_contracts.agents import SpawnAgent, StopAgent
from hive_contracts.control import GiveLoginCode
from hive_contracts.messages import SendMessage
from hive_contracts.models import AgentConfig
from hive_dashboard.audit import MAX_DETAIL, MAX_VALUE, detail_of, target_of
from hive_dashboard.store import SessionStore
from hive_dashboard.store_audit import MAX_ROWS, TRIM_EVERY, Action, AuditLog, facts_of
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import from_milliseconds


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.state("hm1nd")
            await hive.sees_agent("hm1nd")
            supervisor = asyncio.create_task(hive.scene.answer_commands())
            try:
                await scenario(hive)
            finally:
                supervisor.cancel()
                await asyncio.wait([supervisor])

    asyncio.run(main())


async def actions(hive: Opened, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await hive.api.get(f"/api/v1/audit?{query}")).json()["actions"]
    return found


def test_each_action_names_who_did_what_to_what_and_how_it_ended(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        assert (await hive.api.post("/api/v1/agents/hm1nd/stop")).status_code == 200
        (stop,) = await actions(hive)
        assert (stop["who"], stop["action"], stop["target"], stop["outcome"]) == (
            "local",
            "agent.stop",
            "hm1nd",
            "done",
        )
        await hive.sign_in()
        await hive.post("/agents/hm1nd/start")
        await hive.post("/send", to="nobody", body="the secret plan", nonce="n1")
        send, start, sign_in, _link, _ = await actions(hive)
        (session,) = (await hive.api.get("/api/v1/sessions")).json()["sessions"]
        assert {send["who"], start["who"], sign_in["who"]} == {session["id"]}
        assert (start["action"], start["target"], start["outcome"]) == ("agent.start", "hm1nd", "done")
        assert (sign_in["action"], sign_in["outcome"]) == ("sign-in", "done")
        assert (send["action"], send["target"], send["outcome"]) == ("message.send", "nobody", "unknown_recipient")
        assert "nobody" in send["reason"]
        assert "secret plan" not in str(send)
        page = (await hive.browser.get("/audit")).text
        assert "agent.start" in page
        assert session["id"] in page

    in_a_hive(tmp_path, scenario)


def test_what_is_under_way_when_the_dashboard_dies_is_there_as_asked(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        asking = asyncio.create_task(hive.api.post("/api/v1/agents/hm1nd/pause"))  # nobody plays its harness

        async def written() -> bool:
            return bool(await actions(hive))

        await eventually(written)
        (pause,) = await actions(hive)
        assert (pause["action"], pause["target"], pause["outcome"]) == ("agent.pause", "hm1nd", "asked")
        asking.cancel()
        await asyncio.wait([asking])

    in_a_hive(tmp_path, scenario)


def test_strangers_fill_no_log_but_their_tries_to_sign_in_are_in_it(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        async with client(hive.dashboard) as stranger:
            for number in range(30):
                await stranger.post("/api/v1/agents/hm1nd/stop")
                await stranger.get(f"/sign-in?token=guess{number}")
        found = await actions(hive)
        assert {(one["who"], one["action"], one["outcome"]) for one in found} == {("-", "sign-in", "401")}
        assert len(found) <= 10

    in_a_hive(tmp_path, scenario)


def test_reading_is_no_action(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        before = await actions(hive)
        for path in ("/", "/audit", "/messages", "/agents/hm1nd"):
            assert (await hive.browser.get(path)).status_code == 200
        assert await actions(hive) == before

    in_a_hive(tmp_path, scenario)


def test_the_log_is_read_page_by_page_and_by_who_and_what(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        for _ in range(5):
            await hive.api.post("/api/v1/agents/hm1nd/stop")
        await hive.api.post("/api/v1/tokens", json={"name": "phone"})
        seen, cursor = [], None
        while True:
            page = (
                await hive.api.get("/api/v1/audit", params={"limit": 2} | ({"before": cursor} if cursor else {}))
            ).json()
            seen += [one["id"] for one in page["actions"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == sorted(seen, key=int, reverse=True)
        assert len(seen) == 6
        assert len(await actions(hive, "target=phone")) == 1
        assert len(await actions(hive, "who=local&target=hm1nd")) == 5
        assert await actions(hive, "who=t-none") == []

    in_a_hive(tmp_path, scenario)


def test_an_audit_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        with hive.dashboard.parts.store.base.transaction() as db:
            db.execute("DROP TABLE audit")
        assert (await hive.api.post("/api/v1/agents/hm1nd/stop")).status_code == 200

    in_a_hive(tmp_path, scenario)


def test_a_command_is_told_without_what_is_secret_and_in_few_words() -> None:
    assert target_of(StopAgent(name="ada")) == "ada"
    assert detail_of(StopAgent(name="ada")) == ""
    assert detail_of(GiveLoginCode(code="sk-very-secret")) == ""
    sent = SendMessage(to="ada", body="private", urgent=True, in_reply_to="m-" + "x" * 1000)
    assert "private" not in detail_of(sent)
    assert '"urgent": true' in detail_of(sent)
    assert len(detail_of(sent)) < MAX_VALUE + 80


def test_a_detail_is_whole_however_much_there_is_to_tell() -> None:
    packages = tuple(f"package-{number}" for number in range(40))
    spawn = SpawnAgent(name="ada", description='"' * 500, config=AgentConfig(packages=packages, secrets=("KEY",)))
    detail = detail_of(spawn)
    assert len(detail) <= MAX_DETAIL
    assert json.loads(detail) == {
        "description": '"' * MAX_VALUE + "…",
        "config.secrets": ["KEY"],
        "config.packages": ["package-0", "package-1", "package-2", "…"],
    }
    crowded = detail_of(SpawnAgent(name="ada", description="\x01" * 500, config=AgentConfig(secrets=("KEY",))))
    assert json.loads(crowded) == {"left_out": 2}


def test_a_detail_is_read_as_labels_and_values() -> None:
    detail = '{"queued_model": "opus <b>", "limits": {"turns": 5, "tools": ["a", {"b": true}]}, "note": null}'
    assert [(fact.label, fact.value) for fact in facts_of(detail)] == [
        ("queued model", "opus <b>"),
        ("limits.turns", "5"),
        ("limits.tools", "a, b: yes"),
        ("note", "none"),
    ]
    assert [(fact.label, fact.value) for fact in facts_of("90 days")] == [("", "90 days")]
    assert [(fact.label, fact.value) for fact in facts_of('{"cut": "of')] == [("", '{"cut": "of')]
    assert facts_of("") == []


def test_the_audit_page_shows_details_as_text(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        await hive.post("/agents/hm1nd/model", model="opus")
        model, *_ = await actions(hive)
        assert model["facts"] == [{"label": "model", "value": "opus"}]
        page = (await hive.browser.get("/audit")).text
        assert '<dt dir="auto">model</dt><dd dir="auto">opus</dd>' in page

    in_a_hive(tmp_path, scenario)


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "dashboard.sqlite", session_s=1)
    audit = AuditLog(store.base)
    about = Action(
        id="",
        time=from_milliseconds(0),
        who="local",
        address="",
        action="a",
        target="",
        detail="",
        outcome="done",
        reason="",
    )
    query = (
        "INSERT INTO audit (id, at, who, address, action, target, detail, outcome)"
        " VALUES (:id, 0, '', '', :action, '', '', '')"
    )
    with store.base.transaction() as db:
        db.execute(query, {"id": MAX_ROWS + TRIM_EVERY - 1, "action": "old"})
        db.execute(query, {"id": 1, "action": "older"})
    audit.add(about)
    assert [one.action for one in audit.recent()] == ["a", "old"]
    store.close()
