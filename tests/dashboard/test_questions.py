"""Questions to the operator on pages and in the API: answered in place, once, and seen by everybody."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.broker.post import inbox
from tests.dashboard.opened import ADDRESS, Opened, opened
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import question_id
from hive_contracts.permissions import PermissionRequest
from hive_contracts.questions import AskQuestion
from hive_dashboard.hub import Cursor
from hive_dashboard.updates import HOME
from hive_runtime.memory_bus import MemoryBus


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path, **({"answer_timeout_s": 5} | settings)) as hive:
            await hive.scene.agent("ada")
            await hive.sees_agent("ada")
            await hive.sign_in()
            await scenario(hive)

    asyncio.run(main())


async def ask(hive: Opened, question: str = "Which <one>?", *, key: str = "k", **facts: Any) -> str:
    """Ada asks the operator; the question's id, once pages have it."""
    envelope = Envelope.of(AskQuestion(question=question, **facts), source="ada", id=key)
    await hive.scene.bus.append(streams.outbox("ada"), envelope)
    new_id = question_id("ada", key)
    await until(lambda: new_id in [view.id for view in hive.dashboard.parts.snapshots.current.questions])
    return new_id


async def answers(hive: Opened) -> list[str]:
    return [message.about.data["answer"] for message in await inbox(hive.scene.bus, "ada") if message.about]


def test_the_front_page_shows_the_question_with_its_options_and_a_free_field(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive, options=("A & B", "C"), ttl_seconds=600)
        page = (await hive.browser.get("/")).text
        assert "Which &lt;one&gt;?" in page
        assert f'action="/answer-question/{new_id}"' in page
        assert 'type="radio" name="choice" value="A &amp; B"' in page
        assert f'id="text-{new_id}" name="text"' in page
        assert "expires in" in page
        await ask(hive, key="2", options=("D", "E"), multi=True)
        assert 'type="checkbox" name="choice" value="D"' in (await hive.browser.get("/questions")).text

    in_a_hive(tmp_path, scenario)


def test_a_plain_form_answers_with_all_that_was_chosen_and_written(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive, options=("A", "B"), multi=True)
        fields = {"csrf": await hive.csrf(), "choice": ["A", "B"], "text": "and\r\nmore ", "back": "/questions"}
        done = await hive.browser.post(f"/answer-question/{new_id}", data=fields, headers={"origin": ADDRESS})
        assert (done.status_code, done.headers["location"]) == (303, "/questions")
        assert await answers(hive) == ["A\nB\nand\nmore"]
        page = (await hive.browser.get("/questions")).text
        assert "Answered." in page
        assert "/answer-question/" not in page

    in_a_hive(tmp_path, scenario)


def test_a_plain_form_cancels(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive)
        done = await hive.post(f"/cancel-question/{new_id}", back="/")
        assert done.status_code == 303
        assert await answers(hive) == ["[cancelled]"]
        assert "cancelled by operator" in (await hive.browser.get("/questions")).text

    in_a_hive(tmp_path, scenario)


def test_a_stale_answer_is_told_who_was_first(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive)
        await hive.post(f"/answer-question/{new_id}", text="first")
        plain = await hive.post(f"/answer-question/{new_id}", text="second")
        assert plain.status_code == 409
        assert "was answered already, by operator: &#39;first&#39;" in plain.text
        headers = {"hx-request": "true", "origin": ADDRESS, "x-csrf-token": await hive.csrf()}
        in_place = await hive.browser.post(f"/answer-question/{new_id}", data={"text": "third"}, headers=headers)
        assert in_place.status_code == 200
        assert in_place.headers["hx-retarget"] == "#flash"
        assert "was answered already, by operator" in in_place.text
        assert await answers(hive) == ["first"]

    in_a_hive(tmp_path, scenario)


def test_an_empty_answer_is_refused_and_the_question_stays(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive)
        refused = await hive.post(f"/answer-question/{new_id}", text=" ")
        assert refused.status_code == 422
        assert "The answer is empty" in refused.text
        assert len(hive.dashboard.parts.snapshots.current.questions) == 1

    in_a_hive(tmp_path, scenario)


def test_a_form_of_another_site_answers_nothing(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        new_id = await ask(hive)
        forged = await hive.browser.post(f"/answer-question/{new_id}", data={"text": "x"}, headers={"origin": ADDRESS})
        assert forged.status_code == 403
        assert await answers(hive) == []

    in_a_hive(tmp_path, scenario)


def test_open_pages_see_the_question_come_and_the_answer_take_its_place(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        hub = hive.dashboard.parts.hub
        follow = hub.follow(HOME, Cursor.parse(str(hub.cursor(HOME))))
        seen = ""

        async def read_until(text: str) -> None:
            nonlocal seen
            while text not in seen:
                seen += (await anext(follow)).decode()

        await anext(follow)
        new_id = await ask(hive)
        await read_until("event: need\n")
        await hive.api.post(f"/api/v1/questions/{new_id}/answer", json={"answer": "the other operator's"})
        await read_until(f"event: need-{new_id}\n")
        await read_until("the other operator&#39;s")

    in_a_hive(tmp_path, scenario)


def test_the_api_lists_answers_and_cancels(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        first, second = await ask(hive, "one"), await ask(hive, "two", key="2", options=("A",))
        found = (await hive.api.get("/api/v1/questions?waiting=true")).json()["questions"]
        assert [item["id"] for item in found] == [first, second]
        done = await hive.api.post(f"/api/v1/questions/{first}/answer", json={"answer": "yes"})
        assert (done.status_code, done.json()["state"], done.json()["answer"]) == (200, "answered", "yes")
        late = await hive.api.post(f"/api/v1/questions/{first}/cancel")
        assert (late.status_code, late.json()["code"]) == (409, "refused")
        cancelled = await hive.api.post(f"/api/v1/questions/{second}/cancel")
        assert cancelled.json()["state"] == "cancelled"
        states = [item["state"] for item in (await hive.api.get("/api/v1/questions")).json()["questions"]]
        assert states == ["cancelled", "answered"]
        assert (await hive.api.post("/api/v1/questions/q-none/answer", json={"answer": "x"})).status_code == 404

    in_a_hive(tmp_path, scenario)


def test_without_a_broker_the_answer_is_stored_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path, broker=False, answer_timeout_s=0.1) as hive:
            answer = await hive.api.post("/api/v1/questions/q-1/answer", json={"answer": "x"})
            assert answer.status_code == 504
            assert "it is stored and will be done" in answer.json()["detail"]
            assert await hive.scene.bus.depth(streams.outbox("operator")) == 1

    asyncio.run(main())


def test_a_question_of_permission_shows_the_exact_command_and_its_buttons(tmp_path: Path) -> None:
    command = "git push <origin>;\n\trm -rf \u202ex"

    async def scenario(hive: Opened) -> None:
        wanted = PermissionRequest(tool="Bash", command=command, pattern="git push *")
        new_id = await ask(hive, "May I use Bash?", permission=wanted, ttl_seconds=600)
        page = (await hive.browser.get("/")).text
        assert 'class="command"' in page
        assert "git push &lt;origin&gt;;\n\trm -rf ‹U+202E›x</pre>" in page
        for word in ("once", "always", "no"):
            assert f'name="choice" value="{word}"' in page
        assert "Always <code>git push *</code>" in page
        await hive.post(f"/answer-question/{new_id}", choice="always", text="just this branch")
        view = (await hive.api.get(f"/api/v1/questions/{new_id}")).json()
        assert view["answer"] == "always\njust this branch"
        assert view["permission"]["command"] == command
        assert "proposes the pattern <code>git push *</code>" in (await hive.browser.get("/questions")).text
        assert await answers(hive) == [], "its tool call waits for it, so nobody is woken"

    in_a_hive(tmp_path, scenario)


def test_where_no_pattern_could_allow_it_always_is_not_offered(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await ask(hive, "May I?", permission=PermissionRequest(tool="Bash", command="a; b"))
        page = (await hive.browser.get("/questions")).text
        assert 'value="once"' in page
        assert 'value="always"' not in page

    in_a_hive(tmp_path, scenario)
