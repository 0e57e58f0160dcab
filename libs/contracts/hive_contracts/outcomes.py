"""What follows from how a turn ended: one table, which the harness acts on, the broker counts by, pages show and
`docs/turns.md` prints. Outcomes are read from the engine's events and its exit status, never from words."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hive_contracts.agents import TurnOutcome, TurnState


class Next(StrEnum):
    """What the harness does next."""

    ACK = "ack"
    AT_ONCE = "at_once"
    RETRY = "retry"
    PARK = "park"
    LOGIN = "login"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Consequence:
    """`counts`: whether the try counts against the turn's first message, which is given up after too many.

    `state`: what the agent is until it goes on. `patience`: by how much the first wait is longer than usual, where
    trying again soon cannot help. `tone`: how pages colour it. `means` and `so` are sentences for people.
    """

    next: Next
    means: str
    so: str
    counts: bool = False
    state: TurnState = TurnState.IDLE
    patience: int = 1
    tone: str = "bad"


CONSEQUENCES: Final[Mapping[TurnOutcome, Consequence]] = MappingProxyType(
    {
        TurnOutcome.OK: Consequence(Next.ACK, "It ended well.", "Its messages are acknowledged.", tone="ok"),
        TurnOutcome.CANCELLED: Consequence(
            Next.ACK,
            "The operator ended it.",
            "Its messages are acknowledged and not tried again; their senders are told.",
            tone="note",
        ),
        TurnOutcome.INTERRUPTED: Consequence(
            Next.AT_ONCE,
            "An urgent message came, or the harness was told to stop.",
            "Its messages are taken up again, after the urgent one or by the next harness.",
            tone="note",
        ),
        TurnOutcome.PROMPT_TOO_LONG: Consequence(
            Next.COMPACT,
            "The conversation no longer fits the model.",
            "It is shortened, and the messages are tried again.",
            counts=True,
        ),
        TurnOutcome.RATE_LIMITED: Consequence(
            Next.PARK,
            "The provider's limit is reached.",
            "The agent waits until the provider's reset time, where it names one, else with growing pauses.",
            state=TurnState.RATE_LIMITED,
            patience=10,
        ),
        TurnOutcome.AUTH: Consequence(
            Next.LOGIN,
            "The engine is not signed in, or may not work.",
            "The agent needs a login; it tries again with growing pauses.",
            state=TurnState.NEEDS_LOGIN,
            patience=10,
        ),
        TurnOutcome.OVERLOADED: Consequence(
            Next.RETRY, "The provider answers with an error of its own.", "Tried again with growing pauses.", patience=4
        ),
        TurnOutcome.NETWORK: Consequence(
            Next.RETRY, "The provider cannot be reached.", "Tried again with growing pauses.", patience=4
        ),
        TurnOutcome.TOOL_STALLED: Consequence(
            Next.RETRY,
            "A tool call did not come back in time.",
            "The engine is ended, and the messages are tried again.",
            counts=True,
        ),
        TurnOutcome.ENGINE_CRASHED: Consequence(
            Next.RETRY,
            "The engine's process ended in the middle.",
            "Another is started, and the messages are tried again.",
            counts=True,
        ),
        TurnOutcome.ENGINE_HUNG: Consequence(
            Next.RETRY,
            "The engine said nothing for too long.",
            "The engine is ended, and the messages are tried again.",
            counts=True,
        ),
        TurnOutcome.FAILED: Consequence(
            Next.RETRY,
            "Anything else: an error of the engine, or a limit of the turn.",
            "Tried again with growing pauses.",
            counts=True,
        ),
    }
)


def is_done(outcome: TurnOutcome) -> bool:
    """Whether the messages of a turn that ended so are acknowledged."""
    return CONSEQUENCES[outcome].next is Next.ACK
