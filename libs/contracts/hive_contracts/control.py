"""Commands to one agent's harness, in `hive:{<a>}:control`, which only the host's side can write.

Whose stream it is, is who is meant. A harness answers with `command.done` or `command.failed` in its own live stream,
`correlation_id` being the command's id: the answer is the container's word, and good for what it says of itself.
"""

from typing import ClassVar, Final

from pydantic import Field

from hive_contracts.envelope import Payload

STALE_S: Final = 120
"""A command that lay for longer before a harness could read it is refused: nobody means it any more."""

MAX_NAP_S: Final = 30 * 86_400


class PauseAgent(Payload):
    """Take up nothing further; a turn that runs is brought to its end first."""

    TYPE: ClassVar[str] = "agent.pause"


class ResumeAgent(Payload):
    """Take up messages again."""

    TYPE: ClassVar[str] = "agent.resume"


class CancelTurn(Payload):
    """End the turn that runs, for good: its messages are done with. `turn_id`: only if it is still that one."""

    TYPE: ClassVar[str] = "agent.cancel"

    turn_id: str = Field(default="", max_length=64)


class NapAgent(Payload):
    """Begin no turn for so long, unless an urgent message comes; a turn that runs goes on to its end first."""

    TYPE: ClassVar[str] = "agent.nap"

    seconds: float = Field(gt=0, le=MAX_NAP_S)


class WakeAgent(Payload):
    """End a nap, or a wait before a turn is tried again."""

    TYPE: ClassVar[str] = "agent.wake"


class NewSession(Payload):
    """Begin the next turn with an empty conversation; the agent is told to read its notes."""

    TYPE: ClassVar[str] = "agent.new_session"


class CompactAgent(Payload):
    """Shorten its conversation, or its notes: between turns. `wait`: answer when it is done, not when it begins."""

    TYPE: ClassVar[str] = "agent.compact"

    notes: bool = False
    wait: bool = True


class BeginLogin(Payload):
    """Start the engine's own login; the answer's `url` is where the operator signs in."""

    TYPE: ClassVar[str] = "agent.login"


class GiveLoginCode(Payload):
    """What the page behind the link showed: good once, and for that login only."""

    TYPE: ClassVar[str] = "agent.login_code"

    code: str = Field(min_length=1, max_length=2000, pattern=r"^[!-~]+$", repr=False)


class UrgentWaits(Payload):
    """The broker put an urgent message into the inbox: look for it now."""

    TYPE: ClassVar[str] = "message.urgent"

    message_id: str = Field(max_length=64)
