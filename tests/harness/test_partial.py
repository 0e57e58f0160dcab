"""What the engine is about to say: seldom, short, without secrets, and never on record."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.agent_rig import AGENT, config_for, outside, running

from hive_contracts.envelope import Envelope
from hive_contracts.turns import MAX_PARTIAL, TurnPartial, TurnText
from hive_harness.live import LivePublisher
from hive_harness.partial import EVERY_S, Partial
from hive_harness.redaction import Redactor
from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.events import EventReader, EventWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
SECRET = "sk-ant-REDACTED"


class Told(LivePublisher):
    """Keeps what was published."""

    def __init__(self) -> None:
        super().__init__(MemoryBus(), AGENT, redactor=Redactor())
        self.texts: list[str] = []

    def publish(self, payload: Any) -> Envelope:
        self.texts.append(payload.text)
        return super().publish(payload)


def _delta(text: str, kind: str = "text") -> dict[str, Any]:
    delta = {"type": f"{kind}_delta", kind: text}
    return {"type": "stream_event", "event": {"type": "content_block_delta", "index": 0, "delta": delta}}


BEGIN = {"type": "stream_event", "event": {"type": "content_block_start", "index": 0}}


def _told(*events: dict[str, Any], every_s: float = EVERY_S) -> list[str]:
    now = [0.0]
    told = Told()
    partial = Partial("t-1", told, clock=lambda: now[0])
    for event in events:
        partial.see(event)
        now[0] += every_s
    return told.texts


def test_text_grows_word_by_word_and_begins_anew_with_each_block() -> None:
    words = [_delta("one "), _delta("two thr"), _delta("ee four ")]
    assert _told(BEGIN, *words, BEGIN, _delta("so ", "thinking")) == ["one ", "one two ", "one two three four ", "so "]


def test_many_deltas_make_few_events() -> None:
    assert _told(BEGIN, *[_delta("word ") for _ in range(100)], every_s=EVERY_S / 16) == [
        "word " * number for number in range(1, 101, 16)
    ]


def test_only_the_newest_end_is_told_and_a_text_without_end_falls_silent() -> None:
    texts = _told(BEGIN, *[_delta("x" * 500 + " ") for _ in range(100)])
    assert max(map(len, texts)) == MAX_PARTIAL
    assert len(texts) < 40


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40))
def test_no_half_of_a_secret_is_told(cuts: list[int]) -> None:
    text, deltas = f"the key is {SECRET} and -----BEGIN RSA PRIVATE KEY-----\nMIIabc\nMIIdef\n is another", []
    for cut in cuts:
        deltas.append(_delta(text[:cut]))
        text = text[cut:]
    for told in _told(BEGIN, *deltas, _delta(text)):
        assert "sk-ant" not in told
        assert "MII" not in told


def test_subagents_and_strange_shapes_are_passed_over() -> None:
    strange: list[dict[str, Any]] = [
        {"type": "stream_event"},
        {"type": "stream_event", "event": {"type": "content_block_delta", "delta": "x"}},
        {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"type": "input_json_delta"}}},
        _delta("a b ") | {"parent_tool_use_id": "toolu_1"},
    ]
    assert _told(*strange) == []


def test_an_engine_is_heard_while_it_speaks_and_the_record_has_only_the_whole(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with outside(bus) as world, running(config_for(tmp_path), bus):
            await world.deliver("!say one two three")
            await world.turn_end()
        kinds = [event.type for event in world.seen if event.type in {TurnPartial.TYPE, TurnText.TYPE}]
        assert kinds == [TurnPartial.TYPE, TurnText.TYPE]
        assert world.events(TurnPartial)[0].text == "one "
        with closing(EventWriter(tmp_path / "events.sqlite")) as writer:
            writer.record([(f"1-{number}", event) for number, event in enumerate(world.seen)], position="1-99")
        recorded = {event.type for event in EventReader(tmp_path / "events.sqlite").page()}
        assert TurnText.TYPE in recorded
        assert TurnPartial.TYPE not in recorded

    on_bus(scenario)
