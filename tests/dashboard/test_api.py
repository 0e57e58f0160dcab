"""The HTTP API, over the in-memory bus and over a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.dashboard.opened import Opened, client, opened
from tests.dashboard.scene import Scene
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.agents import TurnState
from hive_contracts.messages import MAX_BODY_BYTES
from hive_contracts.turns import TurnText
from hive_dashboard.config import DashboardSettings
from hive_dashboard.service import Dashboard
from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def in_memory(scenario: Callable[[Bus], Awaitable[None]]) -> None:
    asyncio.run(_bounded(scenario))


async def _bounded(scenario: Callable[[Bus], Awaitable[None]]) -> None:
    async with asyncio.timeout(20):
        await scenario(MemoryBus())


def test_a_message_is_sent_taken_up_answered_and_read(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            sent = await hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": "hello"})
            assert sent.status_code == 201
            assert sent.json()["state"] == "accepted"

            entry_id, message = await hive.scene.take("hm1nd")
            assert message.id == sent.json()["id"]
            turn = await hive.scene.begin("hm1nd", message)
            await hive.message(message.id, "in_turn")
            await hive.scene.send("hm1nd", "operator", "hello to you", in_reply_to=message.id)
            await turn.end(entry_id)
            found = await hive.message(message.id, "acked")
            steps = {step["state"] for step in found["message"]["steps"]}
            assert steps == {"accepted", "delivered", "in_turn", "acked"}
            await eventually(lambda: _is_answered(hive.api, message.id))
            answer = (await hive.api.get(f"/api/v1/messages/{message.id}")).json()["conversation"][1]
            assert answer["body"] == "hello to you"

            await hive.message(answer["id"], "delivered")
            await _read(hive.api, answer["id"])
            await hive.message(answer["id"], "acked")
            assert (await hive.api.post(f"/api/v1/messages/{answer['id']}/read")).status_code == 200
            assert await bus.depth(streams.inbox("operator")) == 0

    on_bus(scenario)


async def _is_answered(api: httpx.AsyncClient, message_id: str) -> bool:
    return len((await api.get(f"/api/v1/messages/{message_id}")).json()["conversation"]) == 2


async def _read(api: httpx.AsyncClient, message_id: str) -> None:
    """As soon as the inbox has it."""

    async def done() -> bool:
        return (await api.post(f"/api/v1/messages/{message_id}/read")).status_code == 200

    await eventually(done)


def test_the_same_idempotency_key_sends_once(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            headers = {"idempotency-key": "abc"}
            answers = await asyncio.gather(
                *[
                    hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": "once"}, headers=headers)
                    for _ in range(3)
                ]
            )
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.json()["id"] for answer in answers}) == 1
            assert await bus.depth(streams.inbox("hm1nd")) == 1

    on_bus(scenario)


def test_another_text_under_a_used_idempotency_key_is_not_accepted(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            headers = {"idempotency-key": "abc"}
            answers = [
                await hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": body}, headers=headers)
                for body in ("one", "two")
            ]
            assert [answer.status_code for answer in answers] == [201, 422]
            assert answers[1].json()["code"] == "key_reused"
            assert await bus.depth(streams.inbox("hm1nd")) == 1

    on_bus(scenario)


def test_a_send_that_nobody_confirms_is_queued(tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False, answer_timeout_s=0.05) as hive:
            answer = await hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": "hello"})
            assert answer.status_code == 202
            assert answer.json()["state"] == "queued"
            assert answer.json()["id"].startswith("m-")
            assert await bus.depth(streams.outbox("operator")) == 1

    in_memory(scenario)


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ({"to": "ghost", "body": "hello"}, 404, "unknown_recipient"),
        ({"to": "operator", "body": "hello"}, 409, "refused"),
        ({"to": "hm1nd", "body": "  "}, 422, "invalid_body"),
        ({"to": "hm1nd", "body": "x" * (MAX_BODY_BYTES + 1)}, 413, "body_too_long"),
        ({"to": "hm1nd"}, 422, "invalid_request"),
        ({"to": "x" * 101, "body": "hello"}, 422, "invalid_request"),
    ],
)
def test_a_bad_send_is_one_problem_and_changes_nothing(
    tmp_path: Path, message: dict[str, str], status: int, code: str
) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            answer = await hive.api.post("/api/v1/messages", json=message)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert set(problem) == {"type", "title", "status", "code", "detail"}
            assert (problem["status"], problem["code"]) == (status, code)
            assert problem["detail"]
            assert await bus.depth(streams.inbox("hm1nd")) == 0
            assert (await hive.api.get("/api/v1/messages")).json() == {"messages": [], "next": None}

    in_memory(scenario)


@pytest.mark.parametrize("key", ["", "x" * 101, "with space"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(tmp_path: Path, key: str) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False) as hive:
            headers = {"idempotency-key": key}
            answer = await hive.api.post("/api/v1/messages", json={"to": "a", "body": "b"}, headers=headers)
            assert answer.status_code == 422

    in_memory(scenario)


def test_an_agent_is_made_stopped_and_started(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive, asyncio.TaskGroup() as group:
            supervisor = group.create_task(hive.scene.answer_commands())
            made = await hive.api.post("/api/v1/agents", json={"name": "scout"})
            assert made.status_code == 201
            assert made.json()["container"] == "running"
            assert made.json()["state"]["state"] == "idle"
            stopped = await hive.api.post("/api/v1/agents/scout/stop")
            assert stopped.json()["container"] == "stopped"
            started = await hive.api.post("/api/v1/agents/scout/start")
            assert started.json()["container"] == "running"
            supervisor.cancel()

    on_bus(scenario)


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False) as hive, asyncio.TaskGroup() as group:
            supervisor = group.create_task(hive.scene.answer_commands(refuse="there is one of that name already"))
            answer = await hive.api.post("/api/v1/agents", json={"name": "scout"})
            assert answer.status_code == 409
            assert answer.json()["detail"] == "there is one of that name already"
            supervisor.cancel()

    in_memory(scenario)


def test_a_command_that_nobody_answers_times_out(tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False, command_timeout_s=0.05) as hive:
            answer = await hive.api.post("/api/v1/agents", json={"name": "scout"})
            assert (answer.status_code, answer.json()["code"]) == (504, "timed_out")

    in_memory(scenario)


@pytest.mark.parametrize("name", ["Operator", "operator", "all", "-x", "", "x" * 32, "../../etc"])
def test_a_name_that_no_agent_can_have_is_refused(tmp_path: Path, name: str) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False) as hive:
            answer = await hive.api.post("/api/v1/agents", json={"name": name})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_name")
            assert await bus.depth(streams.COMMANDS_SUPERVISOR) == 0

    in_memory(scenario)


def test_agents_are_shown_with_state_unread_and_history(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.state("hm1nd", TurnState.NAPPING)
            await hive.scene.live("hm1nd", TurnText(turn_id="t", seq=0, text="hello"))
            await hive.scene.send("operator", "hm1nd", "one")
            await hive.sees_agent("hm1nd")

            async def complete() -> bool:
                agent = (await hive.api.get("/api/v1/agents/hm1nd")).json()
                events = (await hive.api.get("/api/v1/agents/hm1nd/events")).json()["events"]
                inbox = (await hive.api.get("/api/v1/agents/hm1nd/inbox")).json()["messages"]
                texts = [event["data"]["text"] for event in events if event["type"] == "turn.text"]
                return bool(agent["unread"] == 1 and agent["state"] and texts == ["hello"] and inbox)

            await eventually(complete)
            assert (await hive.api.get("/api/v1/agents/hm1nd/state")).json()["state"] == "napping"
            assert (await hive.api.get("/agents/hm1nd/api/state")).json()["state"] == "napping"
            assert [a["name"] for a in (await hive.api.get("/api/v1/agents")).json()["agents"]] == ["hm1nd"]

    on_bus(scenario)


def test_a_state_that_a_container_makes_up_stays_its_own(tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False) as hive:
            await hive.scene.agent("scout")
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            await hive.scene.state("scout", TurnState.PAUSED, agent="hm1nd")
            await bus.hash_set(streams.state("hm1nd"), {streams.STATE_FIELD: "not even JSON"})
            await hive.dashboard.parts.snapshots.refresh(states=True)
            answers = {name: (await hive.api.get(f"/api/v1/agents/{name}")).json() for name in ("scout", "hm1nd")}
            assert answers["scout"]["state"]["agent"] == "scout"
            assert answers["hm1nd"]["state"] is None

    in_memory(scenario)


def test_status_tells_how_the_hive_is(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.info(warning="no bubblewrap")
            await hive.scene.agent("hm1nd")
            await hive.scene.state("hm1nd", TurnState.THINKING)
            await hive.dashboard.parts.snapshots.refresh(states=True)
            status = (await hive.api.get("/api/v1/status")).json()
            assert status["redis"] == {"status": "ok", "detail": ""}
            assert status["agents"] == {
                "total": 1,
                "running": 1,
                "thinking": 1,
                "quarantined": 0,
                "needs_update": 0,
            }
            assert status["warnings"] == ["no bubblewrap"]
            assert {service["service"] for service in status["services"]} <= {"broker", "dashboard"}
            assert (await hive.api.get("/readyz")).status_code == 200

    on_bus(scenario)


@pytest.mark.parametrize(
    "path",
    ["/api/v1/agents/ghost", "/api/v1/agents/ghost/events", "/api/v1/messages/m-none", "/api/v1/nothing", "/stream"],
)
def test_what_is_not_there_is_a_problem_document(tmp_path: Path, path: str) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path, broker=False) as hive:
            await until(lambda: hive.dashboard.parts.snapshots.current.known)
            answer = await hive.api.get(path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.status_code in {401, 404}

    in_memory(scenario)


def test_before_the_agents_are_known_nobody_hears_that_there_are_none_and_no_command_is_sent_as_a_message(
    tmp_path: Path,
) -> None:
    async def scenario(bus: Bus) -> None:
        dashboard = Dashboard(DashboardSettings(), tmp_path, bus)
        token = (tmp_path / "secrets" / "api-token").read_text().strip()
        async with client(dashboard, authorization=f"Bearer {token}") as api, client(dashboard) as browser:
            hive = Opened(dashboard, Scene(bus), api, browser)
            for path in ("/api/v1/agents", "/api/v1/agents/ada"):
                answer = await api.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            await hive.sign_in()
            assert (await browser.get("/agents/ada")).status_code == 503
            answer = await hive.post("/send", to="ada", body="/cancel", back="/agents/ada")
            assert answer.status_code == 503
            assert ">\n/cancel</textarea>" in answer.text, "what was typed is kept"
            assert await bus.depth(streams.outbox("operator")) == 0
        dashboard.close()

    in_memory(scenario)
