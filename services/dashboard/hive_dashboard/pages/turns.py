"""The turn stream of an agent's page: its newest end, a place in its history, or what words were found in.

`/agents/<name>/turns` gives an open page the part before or after one that it has.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from hive_contracts.errors import NotFound
from hive_dashboard.live import TAIL_EVENTS
from hive_dashboard.pages.shell import known_agent
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.turns import turns_of
from hive_dashboard.views.turns import Hit, Search, TurnsFragment, TurnStream
from hive_runtime.records.events import RecordedEvent
from hive_runtime.records.history import Window, texts_of

AROUND: Final = 90
"""Characters shown before and behind what was found."""

MAX_WORDS: Final = 200

Cursor = Annotated[str, Query(max_length=64)]

router = APIRouter(prefix="/agents/{name}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the history a page is: before an event, at an event or turn, or at what words are found in; of several
    the last. None of them is the newest end."""

    before: Cursor = ""
    at: Cursor = ""
    turn: Cursor = ""
    q: Annotated[str, Query(max_length=MAX_WORDS)] = ""

    @property
    def is_newest(self) -> bool:
        return not (self.before or self.at or self.turn or self.q.strip())


@router.get("/turns", response_class=HTMLResponse)
async def turns(parts: PartsOf, session: SignedIn, name: str, before: Cursor = "", after: Cursor = "") -> str:
    """The part before or after an event, without a page around it."""
    history = parts.history(known_agent(parts, name).name)
    window = await asyncio.to_thread(history.after, after) if after else await asyncio.to_thread(history.before, before)
    stream = await asyncio.to_thread(still_stream, name, window)
    if after:
        part = TurnStream(name, stream.turns, newer=stream.newer)
    else:
        part = TurnStream(name, stream.turns, older=stream.older)
    return parts.renderer.page(TurnsFragment(part))


async def window_at(parts: Parts, name: str, place: Place) -> Window:
    """What is recorded there. Raises `NotFound` for a turn or event that is not there."""
    history = parts.history(name)
    if place.is_newest:
        return await asyncio.to_thread(history.newest, at_least=TAIL_EVENTS)
    if not (place.at or place.turn):
        return await asyncio.to_thread(history.before, place.before, at_least=TAIL_EVENTS)
    event = await asyncio.to_thread(history.beginning, place.turn) if place.turn else place.at
    window = await asyncio.to_thread(history.around, event)
    if not window.events:
        raise NotFound(f"this turn of {name} is not in its history: it is not recorded yet, or older than what is kept")
    return window


async def search_in(parts: Parts, name: str, words: str, before: str) -> Search:
    words = words.strip()
    found = await asyncio.to_thread(parts.history(name).find, words, before=before)
    further = urlencode({"q": words, "before": found.further}) if found.further else ""
    hits = tuple(_hit(event, words) for event in found.events)
    return Search(words, hits, f"/agents/{name}?{further}" if further else "")


def newest_stream(name: str, window: Window) -> TurnStream:
    """The part that is kept up to date."""
    return replace(still_stream(name, window), live=True)


def still_stream(name: str, window: Window) -> TurnStream:
    older = window.events[0].id if window.older and window.events else ""
    newer = window.events[-1].id if window.newer and window.events else ""
    return TurnStream(name, turns_of(window.events, goes_on=window.goes_on), older=older, newer=newer)


def _hit(event: RecordedEvent, words: str) -> Hit:
    for text in _with(texts_of(event.data), words):
        start = text.lower().index(words.lower())
        end = start + len(words)
        before = ("…" if start > AROUND else "") + text[max(0, start - AROUND) : start]
        behind = text[end : end + AROUND] + ("…" if len(text) > end + AROUND else "")
        return Hit(event.id, event.time, event.type.removeprefix("turn."), (before, text[start:end], behind))
    return Hit(event.id, event.time, event.type, ("", "", ""))


def _with(texts: Iterable[str], words: str) -> Iterable[str]:
    return (text for text in texts if words.lower() in text.lower())
