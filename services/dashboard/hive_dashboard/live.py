"""The newest live events of each agent, and the frames that carry a further one to open pages.

A page shows what the store has and what is newer here, joined by entry id: the recorder may be behind the stream. As
every page holds at least this tail, a turn or call that the tail knows has its place in every page.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from hive_contracts.envelope import MalformedEnvelope
from hive_contracts.turns import MAX_PARTIAL, TurnEnded, TurnPartial, TurnToolCall, TurnToolResult
from hive_dashboard.hub import Hub
from hive_dashboard.render import Renderer
from hive_dashboard.turns import UNSHOWN, Row, call_key, ending_of, row_of, turn_key, turns_of
from hive_runtime.records.events import RecordedEvent

TAIL_EVENTS: Final = 200
TAIL_CHARACTERS: Final = 512 * 1024


def agent_topic(name: str) -> str:
    return f"agent:{name}"


class Tail:
    """One agent's newest events, bounded in number and size, with the turns and calls among them."""

    def __init__(self) -> None:
        self.events: deque[RecordedEvent] = deque()
        self._keys: Counter[str] = Counter()
        self._sizes: deque[int] = deque()
        self._size = 0

    def knows(self, key: str) -> bool:
        return self._keys[key] > 0

    def add(self, event: RecordedEvent, size: int) -> None:
        self.events.append(event)
        self._keys.update(_keys_of(event))
        self._sizes.append(size)
        self._size += size
        while len(self.events) > TAIL_EVENTS or (self._size > TAIL_CHARACTERS and len(self.events) > 1):
            dropped = self.events.popleft()
            self._keys -= Counter(_keys_of(dropped))
            self._size -= self._sizes.popleft()


class Live:
    """Takes live events in and gives them to pages: as frames, and as the newest end of a page's history."""

    def __init__(self, hub: Hub, renderer: Renderer) -> None:
        self._hub = hub
        self._renderer = renderer
        self._tails: dict[str, Tail] = {}
        self._partial: dict[str, str] = {}

    def take(self, agent: str, event: RecordedEvent, *, size: int) -> None:
        """The next event of `agent`; `size` in characters."""
        if event.type in UNSHOWN:
            return
        if event.type == TurnPartial.TYPE:
            self._show_partial(agent, event)
            return
        self._end_partial(agent)
        tail = self._tails.setdefault(agent, Tail())
        if tail.knows(_number_of(event)):
            return  # written twice after a lost reply
        self._publish(agent, event, tail, size)
        tail.add(event, size)

    def joined(self, agent: str, stored: Iterable[RecordedEvent]) -> list[RecordedEvent]:
        """`stored`, oldest first, with the tail's events that it lacks."""
        tail = self._tails.get(agent)
        events = {event.id: event for event in stored if event.type not in UNSHOWN}
        events |= {event.id: event for event in tail.events} if tail else {}
        return sorted(events.values(), key=lambda event: position_of(event.id))

    def event(self, agent: str, event_id: str) -> RecordedEvent | None:
        """One of the newest, which may not be recorded yet."""
        tail = self._tails.get(agent)
        return next((event for event in tail.events if event.id == event_id), None) if tail else None

    def _show_partial(self, agent: str, event: RecordedEvent) -> None:
        """In its turn's place for it, each in place of the one before; no page holds it when it is drawn anew."""
        key, of, text = turn_key(event), event.data.get("of"), event.data.get("text")
        if key and isinstance(text, str):
            self._partial[agent] = key
            shown = Row("thinking" if of == "thinking" else "text", event.time, text[-MAX_PARTIAL:])
            self._hub.publish(
                agent_topic(agent), f"{key}-partial", lambda: self._renderer.partial(shown), weight=2 * len(text) + 500
            )

    def _end_partial(self, agent: str) -> None:
        """Whatever comes next takes its place."""
        if key := self._partial.pop(agent, ""):
            self._hub.publish(agent_topic(agent), f"{key}-partial", "")

    def _publish(self, agent: str, event: RecordedEvent, tail: Tail, size: int) -> None:
        topic, key, render = agent_topic(agent), turn_key(event), self._renderer
        weight = 2 * size + 500
        if not key or not tail.knows(key) or tail.knows(_end_of(key)):  # pages listen for a turn until its end
            self._hub.publish(topic, "turn", lambda: render.turn(turns_of([event])[0], agent), weight=weight)
        elif event.type == TurnEnded.TYPE and _is_sound(event):
            self._hub.publish(topic, _end_of(key), lambda: render.ending(ending_of(event)), weight=weight)
        elif event.type == TurnToolResult.TYPE and tail.knows(call_key(event)):
            self._hub.publish(topic, call_key(event), lambda: render.row(row_of(event), agent), weight=weight)
        else:
            self._hub.publish(topic, key, lambda: render.row(row_of(event), agent), weight=weight)


def _keys_of(event: RecordedEvent) -> list[str]:
    keys = [key for key in (turn_key(event), _number_of(event)) if key]
    if event.type == TurnToolCall.TYPE:
        keys.append(call_key(event))
    elif event.type == TurnEnded.TYPE and _is_sound(event):
        keys.append(_end_of(turn_key(event)))
    return keys


def _end_of(key: str) -> str:
    return f"{key}-end"


def _number_of(event: RecordedEvent) -> str:
    """Names the event within its agent; empty outside a turn, where nothing does."""
    return f"{turn_key(event)}#{event.seq}" if event.turn_id else ""


def _is_sound(event: RecordedEvent) -> bool:
    try:
        ending_of(event)
    except MalformedEnvelope:
        return False
    return True


def position_of(entry_id: str) -> tuple[int, int]:
    time, _, number = entry_id.partition("-")
    return int(time), int(number or 0)
