"""An agent's turn stream, a search in it, and one event of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hive_dashboard.cards import Card
from hive_dashboard.registry import AgentView
from hive_dashboard.turns import Row, Turn
from hive_dashboard.views.shell import Shell
from hive_runtime.records.events import RecordedEvent


@dataclass(frozen=True, slots=True)
class TurnStream:
    """A part of an agent's turn stream. `older`, `newer`: the event before or after which there is more; empty where
    there is none. `live`: it is the newest part, and is kept up to date."""

    agent: str
    turns: list[Turn]
    older: str = ""
    newer: str = ""
    live: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """An event in which words were found; `around` is what stands before, between and behind them."""

    id: str
    time: datetime
    kind: str
    around: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Search:
    """`hits` are newest first; `further` is the address of the next ones, empty where all was looked at."""

    words: str
    hits: tuple[Hit, ...] = ()
    further: str = ""


@dataclass(frozen=True, slots=True)
class TurnsFragment:
    """A further part of the stream for an open page."""

    TEMPLATE: ClassVar[str] = "turns.html"

    stream: TurnStream


@dataclass(frozen=True, slots=True)
class EventPage:
    """`row` is the event, drawn whole."""

    TEMPLATE: ClassVar[str] = "event.html"

    shell: Shell
    agent: AgentView
    event: RecordedEvent
    row: Row


@dataclass(frozen=True, slots=True)
class EditsFragment:
    TEMPLATE: ClassVar[str] = "edits.html"

    card: Card
