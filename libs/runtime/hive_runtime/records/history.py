"""An agent's live events as a reader goes through them: a window at a time, from any place, and by words.

Every window costs the same, however long the history is: it is bounded in events and in characters, and begins and ends
with a turn where that is near. A search looks through a bounded stretch and says where to go on.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, Final

from hive_runtime.records.events import RecordedEvent, event_of
from hive_runtime.store import read_only

WINDOW_EVENTS: Final = 30
WINDOW_OVER: Final = 60
"""Events by which a window may be longer, so that it begins or ends with a turn."""

WINDOW_CHARACTERS: Final = 256 * 1024
SEARCHED_EVENTS: Final = 20_000
FOUND_EVENTS: Final = 50

_NUMBER_OF: Final = "(SELECT number FROM events WHERE entry_id = :cursor)"
_SEEN: Final = "SELECT * FROM events WHERE type NOT IN (SELECT value FROM json_each(:without))"

_FIND: Final = f"""
{_SEEN} AND number < :top AND number >= :floor AND data LIKE :like ESCAPE '\\' ORDER BY number DESC
"""
_REST: Final = """
SELECT entry_id FROM events WHERE number >= :floor AND EXISTS (SELECT 1 FROM events WHERE number < :floor)
ORDER BY number LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Window:
    """Events, oldest first. `older`, `newer`: whether there are more of them. `goes_on`: the last event's turn does."""

    events: list[RecordedEvent]
    older: bool = False
    newer: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Events with the words, newest first. `further`: look before this one for more; empty when all was looked at."""

    events: list[RecordedEvent]
    further: str = ""


class History:
    """Each call opens the store read-only, and finds nothing while it does not exist. Raises `StoreUnavailable`.

    `without`: types of events as if they were not there; they stand among those of a turn, and belong to none.
    """

    def __init__(self, path: Path, *, without: Collection[str] = ()) -> None:
        self._path = path
        self._without = json.dumps(sorted(without))

    def newest(self, *, at_least: int = WINDOW_EVENTS) -> Window:
        with read_only(self._path) as db:
            if db is None:
                return Window([])
            taken = _take(self._seen(db, f"{_SEEN} ORDER BY number DESC"), at_least=at_least)
            return Window(taken.events[::-1], older=taken.more)

    def before(self, event_id: str, *, at_least: int = WINDOW_EVENTS) -> Window:
        """An unknown id gives an empty window, as everywhere here."""
        with read_only(self._path) as db:
            here = _get(db, event_id)
            if db is None or here is None:
                return Window([])
            taken = _take(self._back(db, event_id), at_least=at_least)
            goes_on = bool(taken.events) and _same_turn(taken.events[0], here.turn_id)
            return Window(taken.events[::-1], older=taken.more, newer=True, goes_on=goes_on)

    def after(self, event_id: str) -> Window:
        with read_only(self._path) as db:
            if db is None or _get(db, event_id) is None:
                return Window([])
            return self._onwards(db, event_id, [])

    def around(self, event_id: str) -> Window:
        """From the beginning of the event's turn, where that is near, and on."""
        with read_only(self._path) as db:
            here = _get(db, event_id)
            if db is None or here is None:
                return Window([])
            rows = islice(self._back(db, event_id), WINDOW_OVER)
            same = list(takewhile(lambda event: _same_turn(event, here.turn_id), map(event_of, rows)))
            return self._onwards(db, event_id, [*reversed(same), here])

    def beginning(self, turn_id: str) -> str:
        """The id of the event that began the turn; empty when it is not there, or no longer."""
        query = "SELECT entry_id FROM events WHERE type = 'turn.started' AND turn_id = :turn_id ORDER BY number LIMIT 1"
        with read_only(self._path) as db:
            row = db.execute(query, {"turn_id": turn_id}).fetchone() if db else None
        return str(row["entry_id"]) if row else ""

    def find(self, words: str, *, before: str = "") -> Found:
        """Events in whose texts `words` occur as they are, letters of ASCII in either case."""
        with read_only(self._path) as db:
            if db is None:
                return Found([])
            query = "SELECT max(number) + 1 AS number FROM events" if not before else f"SELECT {_NUMBER_OF} AS number"
            top = db.execute(query, {"cursor": before}).fetchone()["number"] or 0
            values = {"top": top, "floor": top - SEARCHED_EVENTS, "like": _like(words)}
            events = list(islice(_holding(words, self._seen(db, _FIND, **values)), FOUND_EVENTS))
            if len(events) == FOUND_EVENTS:
                return Found(events, events[-1].id)
            rest = db.execute(_REST, values).fetchone()
            return Found(events, rest["entry_id"] if rest else "")

    def _onwards(self, db: sqlite3.Connection, event_id: str, begin: list[RecordedEvent]) -> Window:
        taken = _take(self._seen(db, f"{_SEEN} AND number > {_NUMBER_OF} ORDER BY number", cursor=event_id))
        events = [*begin, *taken.events]
        goes_on = bool(events) and taken.next_turn is not None and _same_turn(events[-1], taken.next_turn)
        older = bool(events) and next(self._back(db, events[0].id), None) is not None
        return Window(events, older=older, newer=taken.more, goes_on=goes_on)

    def _back(self, db: sqlite3.Connection, event_id: str) -> Iterator[sqlite3.Row]:
        return self._seen(db, f"{_SEEN} AND number < {_NUMBER_OF} ORDER BY number DESC", cursor=event_id)

    def _seen(self, db: sqlite3.Connection, query: str, **values: Any) -> Iterator[sqlite3.Row]:
        """sqlite itself passes over what is left out: an agent may tell of nothing else, a million times."""
        return iter(db.execute(query, {**values, "without": self._without}))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a window has room for, and whose turn comes next; None when nothing does."""

    events: list[RecordedEvent]
    next_turn: str | None

    @property
    def more(self) -> bool:
        return self.next_turn is not None


def texts_of(value: Any) -> Iterator[str]:
    """Every text in the data of an event, its keys' names not among them."""
    match value:
        case str():
            yield value
        case dict():
            yield from chain.from_iterable(map(texts_of, value.values()))
        case list():
            yield from chain.from_iterable(map(texts_of, value))


def _holding(words: str, rows: Iterable[sqlite3.Row]) -> Iterator[RecordedEvent]:
    """Those of `rows` whose texts hold the words, which may also have stood in the name of a key."""
    for event in map(event_of, rows):
        if any(words.lower() in text.lower() for text in texts_of(event.data)):
            yield event


def _get(db: sqlite3.Connection | None, event_id: str) -> RecordedEvent | None:
    row = db.execute("SELECT * FROM events WHERE entry_id = :id", {"id": event_id}).fetchone() if db else None
    return event_of(row) if row else None


def _take(rows: Iterable[sqlite3.Row], *, at_least: int = WINDOW_EVENTS) -> _Taken:
    events: list[RecordedEvent] = []
    size = 0
    for row in rows:
        size += len(row["data"])
        ends = len(events) >= at_least and row["turn_id"] != events[-1].turn_id
        if ends or len(events) >= at_least + WINDOW_OVER or (events and size > WINDOW_CHARACTERS):
            return _Taken(events, row["turn_id"])
        events.append(event_of(row))
    return _Taken(events, None)


def _same_turn(event: RecordedEvent, turn_id: str) -> bool:
    return bool(turn_id) and event.turn_id == turn_id


def _like(words: str) -> str:
    """A pattern for the JSON that holds them."""
    inside = json.dumps(words, ensure_ascii=False)[1:-1]
    return "%" + inside.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
