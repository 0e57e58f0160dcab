"""What happened while nobody looked: floods, stopped loops, refused sends; kept until the operator has seen to it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.dashboard.opened import Opened, opened
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.agents import AgentFloodEnded, AgentFlooding, Desired
from hive_contracts.envelope import Envelope
from hive_contracts.messages import LoopStopped, MessageRefused, SendMessage
from hive_dashboard.needs import REFUSALS, Need, NeedKind
from hive_dashboard.store_alerts import MOST
from hive_runtime.memory_bus import MemoryBus

Scenario = Callable[[Opened], Awaitable[None]]


@pytest.fixture
def with_hive(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario in a hive of hm1nd and ada, signed in."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with opened(MemoryBus(), tmp_path) as hive:
                for name in ("hm1nd", "ada"):
                    await hive.scene.agent(name)
                    await hive.scene.state(name)
                    await hive.sees_agent(name)
                await hive.sign_in()
                await scenario(hive)

        asyncio.run(main())

    return run


WithHive = Callable[[Scenario], None]


async def flood(hive: Opened, name: str = "ada") -> None:
    reason = "its streams take 80 MiB of Redis, 64 are its quota"
    await hive.scene.tell(AgentFlooding(agent=name, reason=reason, pause_seconds=10), subject=name)


def needs(hive: Opened) -> dict[str, Need]:
    return {need.key: need for need in hive.dashboard.parts.snapshots.current.needs}


async def there(hive: Opened, key: str) -> Need:
    await until(lambda: key in needs(hive))
    return needs(hive)[key]


@pytest.mark.slow
def test_an_agent_that_floods_is_in_the_queue_until_it_is_dismissed(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        await flood(hive)
        need = await there(hive, "flood-ada")
        assert need.title == "ada floods the hive"
        page = (await hive.browser.get("/")).text
        assert "80 MiB of Redis" in page
        assert 'action="/agents/ada/stop"' in page
        assert 'href="/settings#setting-supervisor-quota_mb"' in page
        assert 'id="setting-supervisor-quota_mb"' in (await hive.browser.get("/settings")).text

        await hive.scene.tell(AgentFloodEnded(agent="ada"), subject="ada")
        await until(lambda: (alert := needs(hive)["flood-ada"].alert) and alert.over)
        await flood(hive)
        await until(lambda: (alert := needs(hive)["flood-ada"].alert) and alert.count == 2 and not alert.over)

        assert (await hive.post("/alerts/flood-ada/dismiss")).headers["location"] == "/"
        assert "flood-ada" not in needs(hive)
        await hive.post("/alerts/flood-ada/dismiss")
        assert "was dismissed already" in (await hive.browser.get("/")).text

    with_hive(scenario)


def test_programs_list_and_dismiss_it_too(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        await flood(hive)
        await there(hive, "flood-ada")
        (alert,) = (await hive.api.get("/api/v1/alerts")).json()["alerts"]
        assert (alert["key"], alert["kind"], alert["agent"], alert["over"]) == ("flood-ada", "flood", "ada", False)
        assert (await hive.api.post("/api/v1/alerts/flood-ada/dismiss")).json() == alert
        assert "flood-ada" not in needs(hive)
        assert (await hive.api.post("/api/v1/alerts/flood-ada/dismiss")).status_code == 404

    with_hive(scenario)


async def _loop(hive: Opened) -> str:
    """ada and hm1nd go on in a conversation that is then stopped; its id."""
    await hive.scene.send("ada", "hm1nd", "thanks")
    _, message = await hive.scene.take("hm1nd")
    reason = "this conversation is 32 messages long without a word from the operator, so it was stopped"
    fact = LoopStopped(trace_id=message.trace_id, sender="ada", to="hm1nd", hop=33, reason=reason)
    await hive.scene.tell(fact, subject=message.trace_id)
    return message.trace_id


def test_a_word_into_a_stopped_conversation_lets_it_go_on_and_settles_it(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        trace = await _loop(hive)
        await there(hive, f"loop-{trace}")
        page = (await hive.browser.get("/")).text
        assert f'href="/messages/{trace}"' in page
        assert f'action="/alerts/loop-{trace}/message"' in page
        await hive.post(f"/alerts/loop-{trace}/message", to="ada", body="stop thanking each other")
        assert "Sent to ada" in (await hive.browser.get("/")).text
        _, word = await hive.scene.take("ada")
        assert (word.trace_id, word.body, word.hop) == (trace, "stop thanking each other", 0)
        await until(lambda: f"loop-{trace}" not in needs(hive))

    with_hive(scenario)


def test_what_is_refused_keeps_the_item(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        trace = await _loop(hive)
        await there(hive, f"loop-{trace}")
        await hive.post(f"/alerts/loop-{trace}/message", to="nobody", body="x")
        assert "there is no" in (await hive.browser.get("/")).text
        assert f"loop-{trace}" in needs(hive)

    with_hive(scenario)


def test_sends_that_are_refused_for_their_number_are_told_once_they_are_many(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        async def refuse(code: str, times: int) -> None:
            for number in range(times):
                fact = MessageRefused(sender="ada", to="hm1nd", code=code, reason="you may send 120 messages a minute")
                await hive.scene.tell(fact, subject="ada", correlation_id=str(number))

        await refuse("too_fast", REFUSALS - 1)
        await refuse("unknown_recipient", 1)
        await flood(hive)
        await there(hive, "flood-ada")
        assert "refused-ada" not in needs(hive)
        await refuse("too_fast", 1)
        need = await there(hive, "refused-ada")
        assert need.kind is NeedKind.REFUSED
        assert f"{REFUSALS} messages were refused" in (await hive.browser.get("/")).text

    with_hive(scenario)


def test_the_queue_holds_a_bounded_number_of_them(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        for number in range(MOST + 5):
            fact = LoopStopped(trace_id=f"m-{number:016}", sender="ada", to="hm1nd", hop=33, reason="long")
            await hive.scene.tell(fact, subject="ada")
        await there(hive, f"loop-m-{MOST + 4:016}")
        await until(lambda: len(needs(hive)) == MOST)
        assert "loop-m-0000000000000000" not in needs(hive)

    with_hive(scenario)


def test_nothing_is_shown_of_an_agent_that_is_gone(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        await flood(hive)
        await there(hive, "flood-ada")
        record = hive.scene.records["ada"].model_copy(update={"desired": Desired.DESTROYED})
        await hive.scene.register(record)
        hive.dashboard.parts.snapshots.touch()
        await until(lambda: "flood-ada" not in needs(hive))

    with_hive(scenario)


def test_it_outlives_the_dashboard_and_what_happened_meanwhile_is_made_up_for(tmp_path: Path) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with opened(bus, tmp_path) as hive:
            for name in ("hm1nd", "ada", "lin"):
                await hive.scene.agent(name)
                await hive.sees_agent(name)
            await flood(hive)
            await there(hive, "flood-ada")
            scene = hive.scene
        await scene.tell(AgentFloodEnded(agent="ada"), subject="ada")
        await scene.tell(AgentFlooding(agent="lin", reason="too much", pause_seconds=10), subject="lin")
        for _ in range(2):
            async with opened(bus, tmp_path) as hive:
                lin = await there(hive, "flood-lin")
                assert lin.alert and lin.alert.count == 1
                ada = needs(hive)["flood-ada"].alert
                assert ada and (ada.over, ada.count) == (True, 1)

    asyncio.run(main())


@pytest.mark.slow
def test_a_message_page_is_found_by_its_conversation_too(with_hive: WithHive) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.agent("lin")
        await hive.sees_agent("lin")
        await hive.scene.bus.append(streams.outbox("ada"), _broadcast())
        _, message = await hive.scene.take("lin")
        assert message.trace_id != message.id

        async def recorded() -> bool:
            return (await hive.browser.get(f"/messages/{message.trace_id}")).status_code == 200

        await eventually(recorded)

    with_hive(scenario)


def _broadcast() -> Envelope:
    return Envelope.of(SendMessage(to="*", body="hear"), source="ada")
