import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hive_contracts.turns import MAX_TEXT, TurnNote, TurnRaw, TurnText, TurnThinking, TurnToolCall, TurnToolResult
from hive_harness.live import LivePublisher, bounded, bounded_input
from hive_harness.runner import _live_events
from hive_runtime.memory_bus import MemoryBus

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["assistant", "user", "system", "result", "stream_event", "rate_limit_event", "new_kind"])
BLOCKS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image"])},
        optional={"text": JSON, "thinking": JSON, "id": JSON, "name": JSON, "input": JSON, "tool_use_id": JSON,
                  "content": JSON},
    ),
    max_size=3,
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        "message": JSON | st.fixed_dictionaries({"content": BLOCKS}),
        "subtype": st.sampled_from(["init", "api_retry", "compact_boundary", "other"]) | JSON,
        "retry_delay_ms": JSON,
        "rate_limit_info": JSON,
    },
)


def translated(event: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(kind.TYPE, fields) for kind, fields in _live_events(event, json.dumps(event))]


@given(EVENTS)
def test_any_event_becomes_live_events_that_can_be_written(event: dict[str, Any]) -> None:
    live = LivePublisher(MemoryBus(), "alice")
    for kind, fields in _live_events(event, json.dumps(event)):
        fit = live.publish(kind(turn_id="t-1", seq=0, **fields))
        assert len(fit.encode()["data"].encode()) < 200_000


def test_what_is_nested_too_deep_is_kept_raw() -> None:
    deep: Any = "end"
    for _ in range(400):
        deep = {"a": [deep]}
    content = [{"type": "tool_use", "id": "c1", "name": "Bash", "input": deep}]
    ((kind, fields),) = translated({"type": "assistant", "message": {"content": content}})
    assert kind == TurnRaw.TYPE
    assert '"end"' in fields["event"]


def test_known_blocks_become_their_events() -> None:
    content = [
        {"type": "text", "text": "hello"},
        {"type": "thinking", "thinking": "hm"},
        {"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "server_tool_use", "id": "c2"},
    ]
    found = translated({"type": "assistant", "message": {"content": content}})
    assert [kind for kind, _ in found] == [TurnText.TYPE, TurnThinking.TYPE, TurnToolCall.TYPE, TurnRaw.TYPE]
    assert found[2][1] == {"call_id": "c1", "name": "Bash", "input": {"command": "ls"}}


def test_a_tool_result_is_its_text_whatever_form_it_has() -> None:
    blocks = [
        {"type": "tool_result", "tool_use_id": "c1", "content": "plain"},
        {"type": "tool_result", "tool_use_id": "c2", "is_error": True,
         "content": [{"type": "text", "text": "one"}, {"type": "image", "source": {}}]},
    ]  # fmt: skip
    found = translated({"type": "user", "message": {"content": blocks}})
    assert found == [
        (TurnToolResult.TYPE, {"call_id": "c1", "text": "plain", "is_error": False}),
        (TurnToolResult.TYPE, {"call_id": "c2", "text": "one\n[image]", "is_error": True}),
    ]


def test_a_retry_of_the_model_api_is_a_note() -> None:
    event = {"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10, "retry_delay_ms": 562.4}
    found = translated(event | {"error_status": 529, "error": "overloaded"})
    text = "the model API answered 529 (overloaded), try 1 of 10, again in 0.6 s"
    assert found == [(TurnNote.TYPE, {"text": text})]


def test_unknown_shapes_are_kept_raw_and_known_silent_ones_are_not() -> None:
    assert translated({"type": "brand_new", "x": 1}) == [(TurnRaw.TYPE, {"event": '{"type": "brand_new", "x": 1}'})]
    assert translated({"type": "stream_event"}) == []
    assert translated({"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}) == []


def test_texts_are_cut_and_always_encodable() -> None:
    assert len(bounded("x" * 100_000)) == MAX_TEXT
    assert bounded("half \ud800 pair") == "half ? pair"


def test_a_calls_input_is_cut_as_a_whole() -> None:
    wide = {f"key{number}": "x" * 10_000 for number in range(50)} | {"deep": [[[[[["end"]]]]]]}
    assert len(json.dumps(bounded_input(wide))) < 2 * MAX_TEXT
    assert bounded_input({"a": [1, True, None, {"b": "c"}]}) == {"a": [1, True, None, {"b": "c"}]}
