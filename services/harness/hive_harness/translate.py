"""From an engine's stream-json to live events. What it does not know becomes `turn.raw`; nothing is dropped unseen.

`system/init` and `result` are read by the runner; here they make no event. Texts are whole: they are cut on their way
out, in `live`.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from hive_contracts.turns import TurnEvent, TurnNote, TurnRaw, TurnText, TurnThinking, TurnToolCall, TurnToolResult
from hive_harness.live import bounded, encodable

Translated = tuple[type[TurnEvent], dict[str, Any]]

MAX_DEPTH: Final = 32
"""What is nested deeper than this is nobody's tool call."""

_SILENT: Final = frozenset({"result", "stream_event", "keep_alive", "tool_progress", "control_response"})


def translate(event: dict[str, Any]) -> Iterator[Translated]:
    """The live events that `event` makes, in order, as type and fields."""
    match event.get("type"):
        case "assistant":
            yield from _blocks(event, _assistant_block)
        case "user":
            yield from _blocks(event, _user_block)
        case "system":
            yield from _system(event)
        case "rate_limit_event" if _status(event) == "allowed":
            return
        case str() as kind if kind in _SILENT:
            return
        case _:
            yield _raw(event)


def raw_line(line: str) -> Translated:
    return TurnRaw, {"event": encodable(line)}


def _raw(value: Any) -> Translated:
    return raw_line(json.dumps(value, ensure_ascii=False, default=str))


def _status(event: dict[str, Any]) -> Any:
    info = event.get("rate_limit_info")
    return info.get("status") if isinstance(info, dict) else None


def _blocks(event: dict[str, Any], translate_block: Callable[[dict[str, Any]], Translated]) -> Iterator[Translated]:
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        yield _raw(event)
        return
    for block in content:
        yield translate_block(block) if isinstance(block, dict) else _raw(block)


def _assistant_block(block: dict[str, Any]) -> Translated:
    match block:
        case {"type": "text", "text": str(text)}:
            return TurnText, {"text": encodable(text)}
        case {"type": "thinking", "thinking": str(text)}:
            return TurnThinking, {"text": encodable(text)}
        case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": dict(arguments)} if not _deep(
            arguments
        ):
            fields = {"call_id": bounded(call_id, 200), "name": bounded(name, 200), "input": _plain(arguments)}
            return TurnToolCall, fields
        case _:
            return _raw(block)


def _user_block(block: dict[str, Any]) -> Translated:
    match block:
        case {"type": "tool_result", "tool_use_id": str(call_id)}:
            text = encodable(_text_of(block.get("content")))
            fields = {"call_id": bounded(call_id, 200), "text": text, "is_error": block.get("is_error") is True}
            return TurnToolResult, fields
        case {"type": "text", "text": str(text)}:
            return TurnNote, {"text": f"the engine told itself: {encodable(text)}"}
        case _:
            return _raw(block)


def _deep(value: Any, left: int = MAX_DEPTH) -> bool:
    if left == 0:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deep(item, left - 1) for item in inner)


def _plain(value: Any) -> Any:
    match value:
        case str():
            return encodable(value)
        case dict():
            return {encodable(str(key)): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _text_of(content: Any) -> str:
    """A tool result's text; what is not text is named."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(_part_text(part) for part in parts)


def _part_text(part: Any) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": str(kind)}:
            return f"[{kind}]"
        case _:
            return json.dumps(part, default=str)


def _system(event: dict[str, Any]) -> Iterator[Translated]:
    match event.get("subtype"):
        case "init" | "status":
            return
        case "api_retry":
            yield TurnNote, {"text": bounded(_retry_note(event), 500)}
        case "compact_boundary":
            yield TurnNote, {"text": "the engine compacted the conversation"}
        case _:
            yield _raw(event)


def _retry_note(event: dict[str, Any]) -> str:
    delay = event.get("retry_delay_ms")
    wait = f", again in {delay / 1000:.1f} s" if isinstance(delay, int | float) else ""
    what = event.get("error_status") or "nothing"
    return (
        f"the model API answered {what} ({event.get('error')}), try {event.get('attempt')} of "
        f"{event.get('max_retries')}{wait}"
    )
