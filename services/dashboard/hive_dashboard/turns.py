"""An agent's live events as turns: blocks of rows that templates draw.

Everything here was written by a container. Ids that go into the page's structure are hashes of what it claims; data
that does not fit its type is shown raw, never dropped.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

from markupsafe import Markup

from hive_contracts.agents import AgentStateChanged, CommandDone, CommandFailed, TurnOutcome
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.turns import (
    TurnEnded,
    TurnJoined,
    TurnNote,
    TurnRaw,
    TurnStarted,
    TurnStderr,
    TurnText,
    TurnThinking,
    TurnToolCall,
    TurnToolResult,
)
from hive_dashboard.cards import Card, card_of, exit_of, pretty
from hive_dashboard.markdown import html_of
from hive_dashboard.text import one_line
from hive_runtime.records.events import RecordedEvent

P = TypeVar("P", bound=Payload)

_NO_CARD: Final = Card()
_NOTHING: Final = Markup("")
UNSHOWN: Final = frozenset({AgentStateChanged.TYPE, CommandDone.TYPE, CommandFailed.TYPE})
"""Events that change the page's header, or answer a command, and are no part of the turn stream."""
FOLD_AT: Final = 120
"""Results longer than this many characters are folded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a turn. `kind`: text, thinking, call, result, note, joined, stderr or raw.

    `id` is its event's, empty for what is only passing. `key` names the tool call that it is or belongs to; `card` is
    what a call is drawn as; `exit`: the status that a command ended with. `html`: what is said, as HTML.
    `whole`: where the agent has all of it, when it was cut.
    """

    kind: str
    time: datetime
    text: str = ""
    title: str = ""
    key: str = ""
    error: bool = False
    exit: str = ""
    whole: str = ""
    id: str = ""
    card: Card = _NO_CARD
    html: Markup = _NOTHING
    results: "list[Row]" = field(default_factory=list)

    @property
    def folded(self) -> bool:
        return len(self.text) > FOLD_AT or self.text.count("\n") > 3

    @property
    def summary(self) -> str:
        return one_line(self.text, FOLD_AT)


@dataclass(frozen=True, slots=True)
class Ending:
    id: str
    time: datetime
    outcome: TurnOutcome
    reason: str
    duration_ms: int
    cost_usd: float
    tool_calls: int
    tokens: int

    @property
    def ok(self) -> bool:
        return self.outcome is TurnOutcome.OK


@dataclass(slots=True)
class Turn:
    """A block. `key` names it in the page; empty for an event outside any turn. `id` is what its container calls it,
    `first` the id of its first event here, `begun` that of its beginning if that is here. `goes_on`: further events of
    it are not here."""

    key: str
    time: datetime
    id: str = ""
    first: str = ""
    sender: str = ""
    prompt: str = ""
    engine: str = ""
    model: str = ""
    messages: tuple[str, ...] = ()
    whole: str = ""
    redelivered: bool = False
    begun: str = ""
    rows: list[Row] = field(default_factory=list)
    ending: Ending | None = None
    goes_on: bool = False

    @property
    def anchor(self) -> str:
        """Its id in the page; that of a later part of a turn is another than the turn's own."""
        return self.key if self.begun else f"{self.key}-{self.first}"

    @property
    def prompt_folded(self) -> bool:
        return len(self.prompt) > 600


def turn_key(event: RecordedEvent) -> str:
    return f"t-{_digest(event.turn_id)}" if event.turn_id else ""


def call_key(event: RecordedEvent) -> str:
    """Names the tool call that the event is, or is a result of."""
    return f"c-{_digest(event.turn_id, str(event.data.get('call_id', '')))}"


def turns_of(events: Iterable[RecordedEvent], *, goes_on: bool = False) -> list[Turn]:
    """Blocks in order of their first event. Results go to their calls when these are there.

    `goes_on`: further events of the last event's turn are not among these.
    """
    found: list[Turn] = []
    by_key: dict[str, Turn] = {}
    calls: dict[str, Row] = {}
    for event in events:
        if event.type in UNSHOWN:
            continue
        key = turn_key(event)
        turn = by_key.get(key) if key else None
        if turn is None:
            turn = Turn(key, event.time, event.turn_id, event.id)
            found.append(turn)
            by_key[key] = turn
        add_event(turn, event, calls)
    if goes_on and found:
        found[-1].goes_on = True
    return found


def add_event(turn: Turn, event: RecordedEvent, calls: dict[str, Row]) -> None:
    """Put an event into its turn: as its beginning, its end, the result of a call, or a row."""
    row = None
    try:
        match event.type:
            case TurnStarted.TYPE if not turn.begun:
                _begin(turn, event)
            case TurnEnded.TYPE if turn.ending is None:
                turn.ending = ending_of(event)
            case _:
                row = row_of(event)
    except MalformedEnvelope:
        row = raw_row(event)
    if row is None:
        return
    if row.kind == "result" and row.key in calls:
        calls[row.key].results.append(row)
        return
    if row.kind == "call":
        calls[row.key] = row
    turn.rows.append(row)


def row_of(event: RecordedEvent) -> Row:
    """Any event as a row; what is unknown or malformed as its raw text."""
    try:
        whole = event.data.get("whole")
        return replace(_typed_row(event), whole=whole if isinstance(whole, str) else "", id=event.id)
    except MalformedEnvelope:
        return raw_row(event)


def _typed_row(event: RecordedEvent) -> Row:
    match event.type:
        case TurnText.TYPE:
            row = said("text", event.time, _payload(event, TurnText).text)
        case TurnThinking.TYPE:
            row = said("thinking", event.time, _payload(event, TurnThinking).text)
        case TurnNote.TYPE:
            row = Row("note", event.time, _payload(event, TurnNote).text)
        case TurnStderr.TYPE:
            row = Row("stderr", event.time, _payload(event, TurnStderr).text, error=True)
        case TurnJoined.TYPE:
            row = Row("joined", event.time, ", ".join(_payload(event, TurnJoined).messages))
        case TurnRaw.TYPE:
            row = Row("raw", event.time, _payload(event, TurnRaw).event, title="unknown event of the engine")
        case TurnToolCall.TYPE:
            call = _payload(event, TurnToolCall)
            title = call.name.removeprefix("mcp__").replace("__", " › ")
            row = Row("call", event.time, title=title, key=call_key(event), card=card_of(call.name, call.input))
        case TurnToolResult.TYPE:
            result = _payload(event, TurnToolResult)
            status, text = exit_of(result.text, error=result.is_error)
            row = Row("result", event.time, text, key=call_key(event), error=result.is_error, exit=status)
        case _:
            row = raw_row(event)
    return row


def raw_row(event: RecordedEvent) -> Row:
    return Row("raw", event.time, pretty(event.data), title=event.type, id=event.id)


def said(kind: str, time: datetime, text: str) -> Row:
    """A row of Markdown."""
    return Row(kind, time, text, html=html_of(text))


def ending_of(event: RecordedEvent) -> Ending:
    """Raises `MalformedEnvelope`."""
    ended = _payload(event, TurnEnded)
    return Ending(
        event.id,
        event.time,
        ended.outcome,
        ended.reason,
        ended.duration_ms,
        ended.cost_usd,
        ended.tool_calls,
        ended.usage.input + ended.usage.output + ended.usage.cache_read + ended.usage.cache_creation,
    )


def _begin(turn: Turn, event: RecordedEvent) -> None:
    started = _payload(event, TurnStarted)
    turn.begun = event.id
    turn.sender, turn.prompt, turn.messages = started.sender, started.prompt, started.messages
    turn.whole = started.whole
    turn.engine, turn.model, turn.redelivered = started.engine, started.model, started.redelivered


def _payload(event: RecordedEvent, kind: type[P]) -> P:
    return Envelope(source="", type=event.type[:64], data=event.data).payload(kind)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()
