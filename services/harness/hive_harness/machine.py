"""What an agent is doing: one table of what an event makes of a state, and nothing else changes the state.

Some events begin what lasts (a pause, a nap); it lasts through a turn, and shows once the turn is over. So a machine
knows what stands, and at rest is in the state of the strongest of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hive_contracts.agents import TurnState


class LifeEvent(StrEnum):
    READY = "ready"
    TURN_BEGAN = "turn_began"
    TURN_ENDED = "turn_ended"
    COMPACTION_BEGAN = "compaction_began"
    COMPACTION_ENDED = "compaction_ended"
    PAUSED = "paused"
    RESUMED = "resumed"
    LOGIN_LOST = "login_lost"
    LOGIN_TRIED = "login_tried"
    LIMITED = "limited"
    LIMIT_OVER = "limit_over"
    NAP_BEGAN = "nap_began"
    NAP_ENDED = "nap_ended"


_S, _E = TurnState, LifeEvent

_AT_REST: Final = {
    _E.COMPACTION_BEGAN: _S.COMPACTING,
    _E.PAUSED: _S.PAUSED,
    _E.LOGIN_LOST: _S.NEEDS_LOGIN,
    _E.LIMITED: _S.RATE_LIMITED,
    _E.NAP_BEGAN: _S.NAPPING,
}
"""From the strongest to the weakest; what is weaker than the state in which an agent rests does not show."""

_TABLE: Final[Mapping[TurnState, Mapping[LifeEvent, TurnState]]] = {
    _S.STARTING: {_E.READY: _S.IDLE},
    _S.IDLE: _AT_REST | {_E.TURN_BEGAN: _S.THINKING},
    _S.THINKING: {_E.TURN_ENDED: _S.IDLE, _E.COMPACTION_BEGAN: _S.COMPACTING},
    _S.COMPACTING: {_E.COMPACTION_ENDED: _S.IDLE, _E.TURN_ENDED: _S.IDLE},
    _S.PAUSED: {_E.RESUMED: _S.IDLE, _E.COMPACTION_BEGAN: _S.COMPACTING},
    _S.NEEDS_LOGIN: {
        _E.LOGIN_TRIED: _S.IDLE,
        _E.COMPACTION_BEGAN: _S.COMPACTING,
        _E.PAUSED: _S.PAUSED,
    },
    _S.RATE_LIMITED: {
        _E.LIMIT_OVER: _S.IDLE,
        _E.COMPACTION_BEGAN: _S.COMPACTING,
        _E.PAUSED: _S.PAUSED,
        _E.LOGIN_LOST: _S.NEEDS_LOGIN,
    },
    _S.NAPPING: {
        _E.NAP_ENDED: _S.IDLE,
        _E.COMPACTION_BEGAN: _S.COMPACTING,
        _E.PAUSED: _S.PAUSED,
        _E.LOGIN_LOST: _S.NEEDS_LOGIN,
        _E.LIMITED: _S.RATE_LIMITED,
    },
}

TRANSITIONS: Final[Mapping[tuple[TurnState, LifeEvent], TurnState]] = MappingProxyType(
    {(state, event): then for state, row in _TABLE.items() for event, then in row.items()}
)

_ENDS: Final[Mapping[LifeEvent, tuple[LifeEvent, ...]]] = {
    _E.TURN_ENDED: (_E.TURN_BEGAN, _E.COMPACTION_BEGAN),
    _E.COMPACTION_ENDED: (_E.COMPACTION_BEGAN,),
    _E.RESUMED: (_E.PAUSED,),
    _E.LOGIN_TRIED: (_E.LOGIN_LOST,),
    _E.LIMIT_OVER: (_E.LIMITED,),
    _E.NAP_ENDED: (_E.NAP_BEGAN,),
}
"""What an event brings to its end."""

_STRENGTH: Final = (_E.COMPACTION_BEGAN, _E.TURN_BEGAN, _E.PAUSED, _E.LOGIN_LOST, _E.LIMITED, _E.NAP_BEGAN)

_NEEDS: Final[Mapping[LifeEvent, frozenset[TurnState]]] = {
    _E.READY: frozenset({_S.STARTING}),
    _E.TURN_BEGAN: frozenset({_S.IDLE}),
    _E.COMPACTION_BEGAN: frozenset(_S) - {_S.STARTING, _S.COMPACTING},
}
"""What may happen in these states only; anything else may happen at any time."""


class Impossible(Exception):
    """The harness has a mistake: this cannot happen in this state."""


class Machine:
    """`happen` moves `state`. Raises `Impossible`, and then nothing is changed."""

    def __init__(self) -> None:
        self.state = TurnState.STARTING
        self._standing: set[LifeEvent] = set()

    def happen(self, event: LifeEvent) -> TurnState:
        if self.state not in _NEEDS.get(event, frozenset(TurnState)):
            raise Impossible(f"{event} while {self.state}")
        self._standing.difference_update(_ENDS.get(event, ()))
        if event in _STRENGTH:
            self._standing.add(event)
        self.state = TRANSITIONS.get((self.state, event), self.state)
        self._settle()
        return self.state

    def _settle(self) -> None:
        """At rest: what stands still shows, the strongest first."""
        for event in _STRENGTH:
            if self.state is TurnState.IDLE and event in self._standing:
                self.state = TRANSITIONS[self.state, event]
