"""Pages as a browser without JavaScript sees them."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.dashboard.opened import ADDRESS, Opened, opened
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import ContainerStatus
from hive_contracts.turns import TurnStarted, TurnText
from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]]) -> None:
    async def main() -> None:
        bus: Bus = MemoryBus()
        async with asyncio.timeout(20), opened(bus, tmp_path, answer_timeout_s=2) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            await hive.sign_in()
            await scenario(hive)

    asyncio.run(main())


async def shows(hive: Opened, path: str, *texts: str) -> str:
    """The page, once it holds all of `texts`."""
    page = ""

    async def there() -> bool:
        nonlocal page
        page = (await hive.browser.get(path)).text
        return all(text in page for text in texts)

    await eventually(there)
    return page


def test_a_message_sent_by_a_plain_form_shows_up_in_the_flow(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        answer = await hive.post("/send", to="hm1nd", body="hello <b>there</b>", back="/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        page = await shows(hive, "/", "hello &lt;b&gt;there&lt;/b&gt;")
        assert "<b>there" not in page

    in_a_hive(tmp_path, scenario)


def test_a_remark_is_shown_once(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.post("/send", to="hm1nd", body="hello", back="/messages")
        assert "Sent to hm1nd" in (await hive.browser.get("/messages")).text
        assert "Sent to hm1nd" not in (await hive.browser.get("/messages")).text

    in_a_hive(tmp_path, scenario)


def test_a_refused_message_keeps_its_text_and_says_why(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        plain = await hive.post("/send", to="ghost", body="my long text", back="/")
        assert plain.status_code == 404
        assert "my long text" in plain.text
        assert "nobody called" in plain.text
        headers = {"hx-request": "true", "origin": ADDRESS, "x-csrf-token": await hive.csrf()}
        form = await hive.browser.post("/send", data={"to": "ghost", "body": "my long text"}, headers=headers)
        assert form.status_code == 200
        assert form.text.startswith("<form")
        assert "my long text" in form.text
        assert "nobody called" in form.text

    in_a_hive(tmp_path, scenario)


def test_the_same_form_sent_twice_sends_once_but_another_text_is_another_message(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        for body in ("one", "one", "two"):
            await hive.post("/send", to="hm1nd", body=body, nonce="n1", back="/")

        async def bodies() -> list[str]:
            return sorted(item["body"] for item in (await hive.api.get("/api/v1/messages")).json()["messages"])

        async def recorded() -> bool:
            return "two" in await bodies()

        await eventually(recorded)
        assert await bodies() == ["one", "two"]

    in_a_hive(tmp_path, scenario)


def test_mail_is_counted_answered_and_marked_read(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.send("hm1nd", "operator", "I am done")
        page = await shows(hive, "/", "<title>• Hive", "I am done", "/read")
        found = re.search(r"/messages/(m-\w+)/read", page)
        assert found
        await hive.post("/send", to="hm1nd", body="thanks", in_reply_to=found[1], back="/")
        await shows(hive, "/", "<title>Hive", "thanks")
        assert (await hive.message(found[1], "acked"))["conversation"][1]["body"] == "thanks"

    in_a_hive(tmp_path, scenario)


def test_an_unread_message_survives_a_restart_of_the_dashboard(tmp_path: Path) -> None:
    async def main() -> None:
        bus: Bus = MemoryBus()
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.send("hm1nd", "operator", "remember me")
            await hive.sign_in()
            page = await shows(hive, "/", "remember me", "/read")
        found = re.search(r"/messages/(m-\w+)/read", page)
        assert found
        async with opened(bus, tmp_path) as hive:
            await hive.sign_in()

            async def read() -> bool:
                return (await hive.post(f"/messages/{found[1]}/read")).status_code == 303

            await eventually(read)
            await hive.message(found[1], "acked")

    asyncio.run(main())


def test_a_crash_between_telling_and_acknowledging_is_made_good(tmp_path: Path) -> None:
    async def main() -> None:
        bus: Bus = MemoryBus()
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.send("hm1nd", "operator", "hello")
            await hive.sign_in()
            page = await shows(hive, "/", "hello", "/read")
            found = re.search(r"/messages/(m-\w+)/read", page)
            assert found
            await hive.scene.live_raw("operator", "message.acked", {"message_id": found[1], "recipient": "operator"})
            await hive.message(found[1], "acked")
            assert await bus.depth(streams.inbox("operator")) == 1
        async with opened(bus, tmp_path):

            async def gone() -> bool:
                return await bus.depth(streams.inbox("operator")) == 0

            await eventually(gone)

    asyncio.run(main())


def test_an_agents_page_shows_its_turns_and_its_mail(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.send("operator", "hm1nd", "to do")
        await hive.scene.live("hm1nd", TurnStarted(turn_id="t", seq=0, sender="operator", prompt="to do"))
        await hive.scene.live("hm1nd", TurnText(turn_id="t", seq=1, text="doing it"))
        page = await shows(hive, "/agents/hm1nd", "doing it", "in progress", "to do")
        assert page.count("doing it") == 1

    in_a_hive(tmp_path, scenario)


def test_older_history_is_a_page_of_its_own_that_stands_still(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        for number in range(310):
            await hive.scene.live("hm1nd", TurnText(turn_id="t", seq=number, text=f"text {number}."))
        page = await shows(hive, "/agents/hm1nd", "text 309.", 'href="/agents/hm1nd?before=')
        found = re.search(r'href="(/agents/hm1nd\?before=[^"]+)"', page)
        assert found
        older = await shows(hive, found[1], "text 0.")
        assert 'sse-swap="turn"' not in older

    in_a_hive(tmp_path, scenario)


def test_buttons_ask_the_supervisor_and_tell_what_came_of_it(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        async with asyncio.TaskGroup() as group:
            supervisor = group.create_task(hive.scene.answer_commands())
            assert (await hive.post("/agents/hm1nd/stop")).headers["location"] == "/agents/hm1nd"
            page = (await hive.browser.get("/agents/hm1nd")).text
            assert "hm1nd is stopped" in page
            assert "Start hm1nd" in page
            assert (await hive.post("/agents", name="scout")).status_code == 303
            assert (await hive.browser.get("/agents/scout")).status_code == 200
            refused = await hive.post("/agents", name="No Such")
            assert refused.status_code == 422
            assert 'value="No Such"' in refused.text
            supervisor.cancel()

    in_a_hive(tmp_path, scenario)


def test_a_message_has_a_trace(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.post("/send", to="hm1nd", body="trace me", back="/")
        flow = await shows(hive, "/messages", "trace me")
        (message_id,) = set(re.findall(r'href="/messages/(m-[^"]+)"', flow))
        page = await shows(hive, f"/messages/{message_id}", "accepted", "delivered", "trace me")
        assert message_id in page

    in_a_hive(tmp_path, scenario)


def test_what_is_not_there_is_a_page_that_leads_back(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        for path in ("/agents/ghost", "/messages/m-none", "/no/such/page"):
            answer = await hive.browser.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"].startswith("text/html")
            assert "Back to the hive" in answer.text

    in_a_hive(tmp_path, scenario)


def test_a_container_cannot_break_a_page_with_what_it_says_of_itself(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        evil = {"turn_id": "\ud800", "started": "0001-01-01T00:00:00+14:00", "ended": "9999-12-31T23:59:59"}
        state = {
            "state": {
                "agent": "operator",
                "state": "thinking",
                "since": "9999-12-31T23:59:59-14:00",
                "detail": "\u202e<script>",
                "cost_usd": 1e300,
                "unread": -5,
                "last_turn": evil | {"turn_id": "<x>", "outcome": "ok", "messages": ["../../<b>"]},
            }
        }
        await hive.scene.live_raw("hm1nd", "state.changed", state)
        strange: list[dict[str, Any]] = [{"turn_id": "t", "seq": 10**30, "text": "\x1b[2J"}, {"turn_id": ["x"]}, {}]
        for number, data in enumerate(strange):
            await hive.scene.live_raw("hm1nd", f"turn.text{'x' * number}", data)
        page = await shows(hive, "/agents/hm1nd", "␛[2J", "‹U+202E›&lt;script&gt;")
        assert "<script>" not in page
        assert (await hive.browser.get("/")).status_code == 200

    in_a_hive(tmp_path, scenario)


def test_a_quarantine_and_what_is_behind_are_shown_with_what_to_do(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.agent("ada", container=ContainerStatus.QUARANTINED, detail="it crashed 10 times")
        await hive.scene.agent("lin", needs_update="there is a newer image")
        for name in ("ada", "lin"):
            await hive.sees_agent(name)
        await shows(hive, "/agents/ada", "quarantined", "it crashed 10 times", "Start ada again")
        await shows(hive, "/agents/lin", "There is a newer image", 'action="/agents/lin/rebuild"')
        await shows(hive, "/", "needs update", "quarantined")

    in_a_hive(tmp_path, scenario)
