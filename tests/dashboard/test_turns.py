"""Live events as blocks of turns, and as frames for open pages."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from hive_contracts.agents import TurnOutcome
from hive_dashboard.hub import Hub
from hive_dashboard.live import TAIL_EVENTS, Live, agent_topic
from hive_dashboard.render import Renderer
from hive_dashboard.turns import UNSHOWN, turns_of
from hive_runtime.records.events import RecordedEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int, kind: str, turn: str = "t1", **data: Any) -> RecordedEvent:
    data = {"turn_id": turn, "seq": number} | data
    return RecordedEvent(f"{number}-0", NOW, kind, turn, number, data)


STORY = [
    event(1, "turn.started", sender="operator", prompt="do it", engine="scripted", messages=["m-1"]),
    event(2, "turn.text", text="I will"),
    event(3, "turn.tool_call", call_id="a", name="Bash", input={"command": "ls"}),
    event(4, "turn.tool_call", call_id="b", name="Read", input={"file": "x"}),
    event(5, "turn.tool_result", call_id="b", text="no such file", is_error=True),
    event(6, "turn.tool_result", call_id="a", text="README.md"),
    event(7, "turn.stderr", text="careful"),
    event(8, "turn.ended", outcome="ok", duration_ms=1500, cost_usd=0.01, tool_calls=2),
]


def test_a_turn_is_one_block_with_results_at_their_calls() -> None:
    (turn,) = turns_of(STORY)
    assert (turn.sender, turn.prompt, turn.messages) == ("operator", "do it", ("m-1",))
    assert [row.kind for row in turn.rows] == ["text", "call", "call", "stderr"]
    assert [result.text for row in turn.rows for result in row.results] == ["README.md", "no such file"]
    assert turn.ending is not None
    assert turn.ending.outcome is TurnOutcome.OK


def test_changes_of_state_and_answers_to_commands_are_no_part_of_the_stream() -> None:
    others = [event(20 + at, kind, turn) for at, kind in enumerate(sorted(UNSHOWN)) for turn in ("t1", "")]
    assert turns_of([*others, *STORY, *others]) == turns_of(STORY)
    assert turns_of(others) == []


def test_a_turn_whose_beginning_is_not_there_is_a_block_all_the_same() -> None:
    (turn,) = turns_of(STORY[4:])
    assert not turn.begun
    assert [row.kind for row in turn.rows] == ["result", "result", "stderr"]


def test_unknown_and_malformed_events_are_shown_raw() -> None:
    strange = [
        event(2, "turn.dreamt", about="sheep"),
        event(3, "turn.text", text=["not", "a", "text"]),
        event(4, "turn.ended", outcome="sideways"),
        event(5, "x" * 5000),
    ]
    (turn,) = turns_of([STORY[0], *strange])
    assert [row.kind for row in turn.rows] == ["raw"] * 4
    assert "sheep" in turn.rows[0].text
    assert turn.ending is None


def test_events_outside_a_turn_stand_alone_and_in_order() -> None:
    loose = event(9, "engine.mood", turn="", mood="fine")
    assert [turn.key == "" for turn in turns_of([loose, *STORY, loose])] == [True, False, True]


def test_what_a_container_claims_never_becomes_structure_of_the_page() -> None:
    evil = '"><script>alert(1)</script>'
    (turn,) = turns_of([event(1, "turn.tool_call", turn=evil, call_id=evil, name=evil, input={evil: evil})])
    html = Renderer().turn(turn, "ada")
    assert "<script" not in html
    assert f'id="{turn.anchor}"' in html
    assert re.fullmatch(r"t-[0-9a-f]{16}", turn.key)


async def _first(stream: AsyncIterator[bytes]) -> str:
    await anext(stream)
    return (await anext(stream)).decode()


def test_an_open_page_gets_each_event_at_its_place() -> None:
    async def scenario() -> None:
        hub = Hub()
        live = Live(hub, Renderer())
        cursor = hub.cursor(agent_topic("hm1nd"))
        for item in STORY:
            live.take("hm1nd", item, size=100)
        chunk = await _first(hub.follow(agent_topic("hm1nd"), cursor))
        names = [line.removeprefix("event: ") for line in chunk.splitlines() if line.startswith("event: ")]
        (turn,) = turns_of(STORY)
        calls = [row.key for row in turn.rows if row.kind == "call"]
        rows = [turn.key] * 3
        assert names == ["turn", *rows, calls[1], calls[0], turn.key, f"{turn.key}-end"]

    asyncio.run(scenario())


def test_an_event_written_twice_is_shown_once() -> None:
    async def scenario() -> None:
        live = Live(Hub(), Renderer())
        for number in (1, 2):
            live.take("hm1nd", RecordedEvent(f"{number}-0", NOW, "turn.text", "t", 7, {"text": "hi"}), size=10)
        assert [item.id for item in live.joined("hm1nd", [])] == ["1-0"]

    asyncio.run(scenario())


def test_a_page_joins_the_store_with_what_the_recorder_has_not_stored_yet() -> None:
    async def scenario() -> None:
        live = Live(Hub(), Renderer())
        for item in STORY[3:]:
            live.take("hm1nd", item, size=100)
        assert live.joined("hm1nd", STORY[:6]) == STORY

    asyncio.run(scenario())


def test_the_tail_is_bounded_and_forgets_turns_with_their_events() -> None:
    async def scenario() -> None:
        live = Live(Hub(), Renderer())
        for number in range(1, TAIL_EVENTS + 50):
            live.take("hm1nd", event(number, "turn.text", turn=f"t{number}", text="x"), size=10)
        assert len(live.joined("hm1nd", [])) == TAIL_EVENTS

    asyncio.run(scenario())


def test_what_is_half_said_is_shown_until_the_whole_comes_and_is_in_no_history() -> None:
    async def scenario() -> tuple[str, list[str]]:
        hub = Hub()
        live = Live(hub, Renderer())
        cursor = hub.cursor(agent_topic("hm1nd"))
        partial = RecordedEvent("2-1", NOW, "turn.partial", "t1", 0, {"turn_id": "t1", "of": "text", "text": "I <b>"})
        for item in (STORY[0], partial, STORY[1]):
            live.take("hm1nd", item, size=100)
        text = await _first(hub.follow(agent_topic("hm1nd"), cursor))
        return text, [event.type for event in live.joined("hm1nd", [])]

    text, kept = asyncio.run(scenario())
    said, gone = re.findall(r"event: (t-\w+-partial)\n((?:data: .*\n)*)", text)
    assert "I &lt;b&gt;" in said[1]
    assert (gone[0], gone[1].strip()) == (said[0], "data:")
    assert text.index("I will") > text.rindex("-partial")
    assert kept == ["turn.started", "turn.text"]
    assert f'sse-swap="{said[0]}"' in text
