"""The same thing asked for twice, under one key, is done once; also after a restart, and never by guessing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.dashboard.opened import Opened, opened
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import StopAgent
from hive_contracts.envelope import Envelope
from hive_dashboard.store import SessionStore
from hive_dashboard.store_answers import KEPT_S, Answers
from hive_runtime.memory_bus import MemoryBus

KEY = {"idempotency-key": "key-1"}


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]], **settings: float) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), opened(MemoryBus(), tmp_path, broker=False, **settings) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            supervisor = asyncio.create_task(hive.scene.answer_commands())
            try:
                await scenario(hive)
            finally:
                supervisor.cancel()
                await asyncio.wait([supervisor])

    asyncio.run(main())


async def commands(hive: Opened) -> list[str]:
    reader = hive.scene.bus.reader()
    found = await reader.read_after({streams.COMMANDS_SUPERVISOR: "0-0"}, count=100, block_ms=0)
    return [Envelope.decode(entry.fields).type for entry in found]


def test_a_repeated_post_is_answered_and_not_done_again(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        first = await hive.api.post("/api/v1/agents/hm1nd/stop", headers=KEY)
        again = await hive.api.post("/api/v1/agents/hm1nd/stop", headers=KEY)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json() == first.json()
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert await commands(hive) == [StopAgent.TYPE]
        assert (
            await hive.api.post("/api/v1/agents/hm1nd/stop", headers={"idempotency-key": "key-2"})
        ).status_code == 200
        assert await commands(hive) == [StopAgent.TYPE] * 2

    in_a_hive(tmp_path, scenario)


def test_a_refusal_is_remembered_as_a_problem(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        answers = [await hive.api.post("/api/v1/agents/nobody/stop", headers=KEY) for _ in range(2)]
        assert {answer.status_code for answer in answers} == {404}
        assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
        assert answers[0].json() == answers[1].json()

    in_a_hive(tmp_path, scenario)


def test_a_key_is_good_for_one_request_and_belongs_to_who_used_it(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.api.post("/api/v1/agents", json={"name": "ada"}, headers=KEY)
        other = await hive.api.post("/api/v1/agents", json={"name": "lin"}, headers=KEY)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
        secret = (await hive.api.post("/api/v1/tokens", json={"name": "x"})).json()["secret"]
        theirs = await hive.api.post(
            "/api/v1/agents", json={"name": "lin"}, headers=KEY | {"authorization": f"Bearer {secret}"}
        )
        assert theirs.status_code == 201
        bad = await hive.api.post("/api/v1/agents/hm1nd/stop", headers={"idempotency-key": "x" * 101})
        assert bad.status_code == 422
        stranger = await hive.browser.post("/api/v1/agents", json={"name": "ada"}, headers=KEY)
        assert stranger.status_code == 401

    in_a_hive(tmp_path, scenario)


def test_one_without_a_known_answer_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        path = "/api/v1/agents/hm1nd/pause"  # nobody plays its harness
        asking = asyncio.create_task(hive.api.post(path, headers=KEY))

        await until(hive.dashboard.parts.audit.recent)
        meanwhile = await hive.api.post(path, headers=KEY)
        assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "outcome_unknown")
        late = await asking
        assert late.status_code == 504
        again = await hive.api.post(path, headers=KEY)
        assert (again.status_code, again.json()["code"]) == (409, "outcome_unknown")

    in_a_hive(tmp_path, scenario, command_timeout_s=0.5)

    async def after_a_restart(hive: Opened) -> None:
        again = await hive.api.post("/api/v1/agents/hm1nd/pause", headers=KEY)
        assert (again.status_code, again.json()["code"]) == (409, "outcome_unknown")

    in_a_hive(tmp_path, after_a_restart)


def test_an_answer_outlives_the_process_and_a_secret_is_not_kept(tmp_path: Path) -> None:
    made: dict[str, str] = {}

    async def scenario(hive: Opened) -> None:
        made["agent"] = (await hive.api.post("/api/v1/agents", json={"name": "ada"}, headers=KEY)).text
        made["secret"] = (await hive.api.post("/api/v1/tokens", json={"name": "x"}, headers=KEY)).json()["secret"]

    in_a_hive(tmp_path, scenario)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("dashboard.sqlite*"))
    assert made["secret"].encode() not in kept

    async def after_a_restart(hive: Opened) -> None:
        again = await hive.api.post("/api/v1/agents", json={"name": "ada"}, headers=KEY)
        assert again.text == made["agent"]
        token = await hive.api.post("/api/v1/tokens", json={"name": "x"}, headers=KEY)
        assert (token.status_code, token.json()["code"]) == (409, "outcome_unknown")
        assert len((await hive.api.get("/api/v1/tokens")).json()["tokens"]) == 1

    in_a_hive(tmp_path, after_a_restart)


def test_a_key_is_forgotten_after_a_day(tmp_path: Path) -> None:
    now = 1000.0
    store = SessionStore(tmp_path / "dashboard.sqlite", session_s=1)
    answers = Answers(store.base, clock=lambda: now)
    assert answers.begin(b"key", b"request") is None
    assert answers.begin(b"key", b"request") is not None
    now += KEPT_S
    assert answers.begin(b"key", b"request") is None
    store.close()
