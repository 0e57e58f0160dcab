"""Live events of a turn, in `hive:{<a>}:live`: one typed, ordered stream per agent.

Within a turn `seq` counts from 0 without gaps, so that a reader sees what it missed. Everything here is written by a
container: on the host's side every text is untrusted. Secrets of known forms are taken out of texts before they leave,
then they are cut to `MAX_TEXT` characters.
"""

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Payload

MAX_TEXT: Final = 16_000
MAX_PARTIAL: Final = 2_000


class TurnEvent(Payload):
    """`whole`: where the agent has the whole text, from its state directory on, when something was cut."""

    turn_id: str = Field(max_length=64)
    seq: int = Field(ge=0)
    whole: str = Field(default="", max_length=200)


class TurnStarted(TurnEvent):
    """A turn began with `messages` (ids); `prompt` is what the engine was given."""

    TYPE: ClassVar[str] = "turn.started"

    messages: tuple[str, ...] = ()
    sender: str = ""
    prompt: str = ""
    engine: str = ""
    model: str = ""
    redelivered: bool = False


class TurnJoined(TurnEvent):
    """The turn took further messages up, by `recv`."""

    TYPE: ClassVar[str] = "turn.joined"

    messages: tuple[str, ...]


class TurnText(TurnEvent):
    """What the engine says."""

    TYPE: ClassVar[str] = "turn.text"

    text: str


class TurnThinking(TurnEvent):
    TYPE: ClassVar[str] = "turn.thinking"

    text: str


class TurnPartial(Payload):
    """What the engine is about to say, as far as it has come: the newest `MAX_PARTIAL` characters of it.

    It has no place in the order: the event that follows says all of it. Never recorded; any of them may be missing.
    """

    TYPE: ClassVar[str] = "turn.partial"

    turn_id: str = Field(max_length=64)
    of: Literal["text", "thinking"] = "text"
    text: str = ""


class TurnToolCall(TurnEvent):
    TYPE: ClassVar[str] = "turn.tool_call"

    call_id: str
    name: str
    input: dict[str, Any] = Field(default_factory=dict)


class TurnToolResult(TurnEvent):
    TYPE: ClassVar[str] = "turn.tool_result"

    call_id: str
    text: str
    is_error: bool = False


class TurnNote(TurnEvent):
    """Something the harness says about the turn: a session begun or resumed, an engine restarted."""

    TYPE: ClassVar[str] = "turn.note"

    text: str


class TurnStderr(TurnEvent):
    TYPE: ClassVar[str] = "turn.stderr"

    text: str


class TurnRaw(TurnEvent):
    """An engine event of a shape that the harness does not know: kept, not dropped."""

    TYPE: ClassVar[str] = "turn.raw"

    event: str


class Usage(Payload):
    """Tokens of a turn. `context` is the size of the last request's prompt."""

    TYPE: ClassVar[str] = "usage"

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    context: int = 0


class TurnEnded(TurnEvent):
    """`messages` are all that the turn took up; they are acked when `outcome` is `ok`.

    `stats`: further figures of the turn, by key (lower case letters, digits, `_` and `.`, at most 48 characters).
    """

    TYPE: ClassVar[str] = "turn.ended"

    outcome: TurnOutcome
    reason: str = ""
    messages: tuple[str, ...] = ()
    duration_ms: int = 0
    tool_calls: int = 0
    cost_usd: float = 0.0
    usage: Usage = Field(default_factory=Usage)
    session_id: str | None = None
    stats: dict[str, float] = Field(default_factory=dict)
