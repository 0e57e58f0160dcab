"""What the operator tells an agent: over the API, and with the buttons of its page without JavaScript."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.opened import Opened, opened
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed, ContainerStatus, TurnState
from hive_contracts.envelope import Envelope, Payload
from hive_dashboard.control import CONTROLS, sign_in_host
from hive_runtime.consumer import Consumer
from hive_runtime.memory_bus import MemoryBus

BECOMES = {"agent.pause": TurnState.PAUSED, "agent.nap": TurnState.NAPPING}
"""What a command makes of the state; idle for any other."""
LINK = "https://claude.com/cai/oauth/authorize?code=true"
FINDS: dict[str, dict[str, Any]] = {
    "agent.login": {"url": LINK},
    "agent.compact": {"tokens_before": 150_000, "tokens_after": 900},
}


async def _answer_as(opened_hive: Opened, name: str, refuse: str) -> None:
    """Be that agent's harness, until cancelled."""
    scene = opened_hive.scene
    consumer = Consumer(scene.bus, streams.control(name), streams.GROUP_HARNESS, name)
    try:
        while True:
            for entry in await consumer.read():
                command = Envelope.decode(entry.fields)
                answer: Payload = CommandDone(command=command.type, subject=name, result=FINDS.get(command.type, {}))
                if refuse:
                    answer = CommandFailed(command=command.type, subject=name, code="refused", reason=refuse)
                else:
                    await scene.state(name, BECOMES.get(command.type, TurnState.IDLE))
                reply = Envelope.of(answer, source=name, correlation_id=command.id)
                await scene.bus.append(streams.live(name), reply)
    finally:
        await consumer.aclose()


@asynccontextmanager
async def agent_that_answers(tmp_path: Path, *, refuse: str = "") -> AsyncIterator[Opened]:
    async with opened(MemoryBus(), tmp_path, command_timeout_s=10) as hive:
        await hive.scene.agent("ada")
        await hive.scene.state("ada")
        await hive.sees_agent("ada")
        harness = asyncio.ensure_future(_answer_as(hive, "ada", refuse))
        try:
            yield hive
        finally:
            harness.cancel()
            await asyncio.wait([harness])


def test_the_api_answers_when_the_harness_has_done_it_with_the_agent_as_it_is_then(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            for verb, body, state in (
                ("pause", None, "paused"),
                ("resume", None, "idle"),
                ("nap", {"seconds": 5}, "napping"),
                ("wake", None, "idle"),
                ("cancel", None, "idle"),
                ("cancel", {"turn_id": "t-1"}, "idle"),
                ("new-session", None, "idle"),
            ):
                answer = await hive.api.post(f"/api/v1/agents/ada/{verb}", json=body)
                assert (answer.status_code, answer.json()["state"]["state"]) == (200, state)
            for seconds in (0, -1, "soon", 1e9):
                answer = await hive.api.post("/api/v1/agents/ada/nap", json={"seconds": seconds})
                assert answer.status_code == 422

    asyncio.run(main())


def test_the_harness_s_refusal_is_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path, refuse="not now") as hive:
            answer = await hive.api.post("/api/v1/agents/ada/pause")
            assert (answer.status_code, answer.json()["detail"]) == (409, "not now")

    asyncio.run(main())


def test_an_agent_that_does_not_run_cannot_be_told_anything(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("ada", container=ContainerStatus.STOPPED)
            await hive.sees_agent("ada")
            answer = await hive.api.post("/api/v1/agents/ada/pause")
            assert answer.status_code == 409
            assert "`hive start ada` first" in answer.json()["detail"]
            assert (await hive.api.post("/api/v1/agents/nobody/pause")).status_code == 404

    asyncio.run(main())


def test_a_harness_that_does_not_answer_is_a_time_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path, command_timeout_s=0.05) as hive:
            await hive.scene.agent("ada")
            await hive.sees_agent("ada")
            answer = await hive.api.post("/api/v1/agents/ada/pause")
            assert answer.status_code == 504
            assert "ada has not answered" in answer.json()["detail"]

    asyncio.run(main())


def test_another_agents_word_is_no_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path, command_timeout_s=0.3) as hive:
            for name in ("ada", "mallory"):
                await hive.scene.agent(name)
                await hive.sees_agent(name)
            asking = asyncio.ensure_future(hive.api.post("/api/v1/agents/ada/pause"))
            consumer = Consumer(hive.scene.bus, streams.control("ada"), streams.GROUP_HARNESS, "ada")
            (entry,) = await consumer.read()
            await consumer.aclose()
            key = Envelope.decode(entry.fields).id
            for claimed in (key, f"ada/{key}"):
                lie = Envelope.of(CommandDone(command="agent.pause"), source="ada", correlation_id=claimed)
                await hive.scene.bus.append(streams.live("mallory"), lie)
            assert (await asking).status_code == 504

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "state", "remark"),
    [
        ("pause", TurnState.IDLE, "ada is paused"),
        ("resume", TurnState.PAUSED, "ada takes up messages again"),
        ("cancel", TurnState.THINKING, "turn is cancelled"),
        ("nap", TurnState.IDLE, "ada naps"),
        ("wake", TurnState.NAPPING, "ada is awake"),
        ("new-session", TurnState.IDLE, "empty conversation"),
    ],
)
def test_the_buttons_of_the_page_work_without_javascript(
    tmp_path: Path, verb: str, state: TurnState, remark: str
) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            await hive.sign_in()
            await hive.scene.state("ada", state)
            snapshots = hive.dashboard.parts.snapshots
            await until(lambda: (ada := snapshots.current.agent("ada")) and ada.state and ada.state.state is state)
            assert f'action="/agents/ada/{verb}"' in (await hive.browser.get("/agents/ada")).text
            answer = await hive.post(f"/agents/ada/{verb}", seconds="60")
            assert (answer.status_code, answer.headers["location"]) == (303, "/agents/ada")
            assert remark in (await hive.browser.get("/agents/ada")).text

    asyncio.run(main())


def test_a_nap_of_no_length_is_refused_on_the_page(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            await hive.sign_in()
            for seconds in ("", "never", "-5", "nan"):
                await hive.post("/agents/ada/nap", seconds=seconds)
                assert "a nap takes seconds" in (await hive.browser.get("/agents/ada")).text.lower()

    asyncio.run(main())


def test_a_message_may_be_urgent(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("ada")
            await hive.sees_agent("ada")
            await hive.api.post("/api/v1/messages", json={"to": "ada", "body": "now", "urgent": True})
            await hive.sign_in()
            await hive.post("/send", to="ada", body="now too", urgent="1", nonce="n")
            for body in ("now", "now too"):
                _, message = await hive.scene.take("ada")
                assert (message.body, message.urgent) == (body, True)
            nudges = await read_control(hive, "ada")
            assert [nudge.type for nudge in nudges] == ["message.urgent"] * 2

    asyncio.run(main())


async def read_control(hive: Opened, name: str) -> list[Envelope]:
    consumer = Consumer(hive.scene.bus, streams.control(name), streams.GROUP_HARNESS, name)
    try:
        found: list[Envelope] = []
        while len(found) < 2:
            found += [Envelope.decode(entry.fields) for entry in await consumer.read()]
        return found
    finally:
        await consumer.aclose()


def test_a_form_without_its_token_does_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            await hive.sign_in()
            answer = await hive.browser.post("/agents/ada/pause", headers={"origin": "http://127.0.0.1:7000"})
            assert answer.status_code == 403
            assert await hive.scene.bus.depth(streams.control("ada")) == 0

    asyncio.run(main())


def test_a_compaction_answers_with_what_came_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            answer = await hive.api.post("/api/v1/agents/ada/compact", json={"notes": False})
            assert (answer.status_code, answer.json()["result"]) == (200, FINDS["agent.compact"])
            assert answer.json()["agent"]["name"] == "ada"

    asyncio.run(main())


def test_the_pages_buttons_begin_a_compaction_and_do_not_wait_for_it(tmp_path: Path) -> None:
    wanted = {verb: CONTROLS[verb].payload({}).model_dump() for verb in ("compact", "compact-notes")}
    assert wanted == {"compact": {"notes": False, "wait": False}, "compact-notes": {"notes": True, "wait": False}}

    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            await hive.sign_in()
            page = await hive.browser.get("/agents/ada")
            for verb in wanted:
                assert f'action="/agents/ada/{verb}"' in page.text

    asyncio.run(main())


def test_a_login_gives_its_link_and_takes_its_code(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            answer = await hive.api.post("/api/v1/agents/ada/login")
            assert (answer.status_code, answer.json()) == (200, {"url": LINK})
            assert (await hive.api.post("/api/v1/agents/ada/login-code", json={"code": "a#b"})).status_code == 200
            refused = await hive.api.post("/api/v1/agents/ada/login-code", json={"code": "two words"})
            assert (refused.status_code, "two words" in refused.text) == (422, False)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (LINK, "claude.com"),
        ("https://platform.claude.com/x", "platform.claude.com"),
        ("http://claude.com/x", ""),
        ("https://claude.com.evil.example/x", ""),
        ("https://claude.com@evil.example/x", ""),
        ("https://evilclaude.com/x", ""),
        ("javascript:alert(1)", ""),
        ("https://[bad", ""),
    ],
)
def test_only_the_providers_own_links_are_to_be_followed(url: str, host: str) -> None:
    assert sign_in_host(url) == host


def seen_state(hive: Opened) -> TurnState | None:
    agent = hive.dashboard.parts.snapshots.current.agent("ada")
    return agent.state.state if agent and agent.state else None


@pytest.mark.parametrize(("url", "shown"), [(LINK, True), ("https://evil.example/login", False)])
def test_the_page_shows_a_login_that_waits_and_warns_of_a_foreign_link(tmp_path: Path, url: str, shown: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        async with agent_that_answers(tmp_path) as hive:
            await hive.sign_in()
            await hive.scene.state("ada", TurnState.NEEDS_LOGIN, login_url=url)
            await until(lambda: seen_state(hive) is TurnState.NEEDS_LOGIN)
            page = (await hive.browser.get("/agents/ada")).text
            assert (f'href="{url.replace("&", "&amp;")}"' in page) == shown
            assert ("/agents/ada/login-code" in page) == shown

    asyncio.run(main())
