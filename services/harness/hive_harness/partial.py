"""What the engine is about to say, while it says it: for open pages, a few times a second, never recorded.

The event that follows holds the whole text. Secrets are taken out of all that was said so far, but for its last word,
which may be half of one and is not shown yet.
"""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

from hive_contracts.turns import MAX_PARTIAL, MAX_TEXT, TurnPartial
from hive_harness.live import LivePublisher, bounded

EVERY_S: Final = 0.25
_KINDS: Final[dict[str, tuple[str, Literal["text", "thinking"]]]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
}


class Partial:
    """Of one turn. `see` is told of every event of the engine."""

    def __init__(self, turn_id: str, live: LivePublisher, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn_id = turn_id
        self._live = live
        self._clock = clock
        self._said = ""
        self._told = ""
        self._last_at = -EVERY_S

    def see(self, event: dict[str, Any]) -> None:
        if event.get("type") != "stream_event" or event.get("parent_tool_use_id") is not None:
            return
        match event.get("event"):
            case {"type": "content_block_start"}:
                self._said = self._told = ""
            case {"type": "content_block_delta", "delta": {"type": str(kind)} as delta} if kind in _KINDS:
                field, of = _KINDS[kind]
                self._add(str(delta.get(field, "")), of)

    def _add(self, text: str, of: Literal["text", "thinking"]) -> None:
        if len(self._said) >= MAX_TEXT:
            return
        self._said += text[:MAX_TEXT]
        now = self._clock()
        if now - self._last_at < EVERY_S or self._live.is_behind:
            return
        shown = self._live.redact(_whole_words(self._said))[-MAX_PARTIAL:]
        if shown.strip() and shown != self._told:
            self._told, self._last_at = shown, now
            self._live.publish(TurnPartial(turn_id=self._turn_id, of=of, text=bounded(shown)))


def _whole_words(text: str) -> str:
    words = text.rstrip()
    return text if words != text else text[: max(words.rfind(" "), words.rfind("\n"), words.rfind("\t")) + 1]
