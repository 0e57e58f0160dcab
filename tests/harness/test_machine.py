"""No state is reached that the events do not explain: the table against what stands, in any order of events."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hive_contracts.agents import TurnState
from hive_harness.machine import TRANSITIONS, Impossible, LifeEvent, Machine


class AnyLife(RuleBasedStateMachine):
    """Keeps what stands by itself, in plain words, and says what an agent must then be doing."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.started = self.turn = self.compaction = False
        self.paused = self.locked_out = self.limited = self.naps = False

    def expected(self) -> TurnState:
        if not self.started:
            return TurnState.STARTING
        said = (
            (self.compaction, TurnState.COMPACTING),
            (self.turn, TurnState.THINKING),
            (self.paused, TurnState.PAUSED),
            (self.locked_out, TurnState.NEEDS_LOGIN),
            (self.limited, TurnState.RATE_LIMITED),
            (self.naps, TurnState.NAPPING),
        )
        return next((state for holds, state in said if holds), TurnState.IDLE)

    @invariant()
    def it_does_what_stands(self) -> None:
        assert self.machine.state is self.expected()

    @precondition(lambda self: not self.started)
    @rule()
    def become_ready(self) -> None:
        self.machine.happen(LifeEvent.READY)
        self.started = True

    @precondition(lambda self: self.expected() is TurnState.IDLE)
    @rule()
    def begin_turn(self) -> None:
        self.machine.happen(LifeEvent.TURN_BEGAN)
        self.turn = True

    @precondition(lambda self: self.expected() is not TurnState.IDLE)
    @rule()
    def a_turn_begins_at_rest_only(self) -> None:
        before = self.machine.state
        try:
            self.machine.happen(LifeEvent.TURN_BEGAN)
        except Impossible:
            assert self.machine.state is before
        else:
            raise AssertionError("a turn began although something keeps the agent from it")

    @precondition(lambda self: self.turn)
    @rule()
    def end_turn(self) -> None:
        self.machine.happen(LifeEvent.TURN_ENDED)
        self.turn = self.compaction = False

    @precondition(lambda self: self.started and not self.compaction)
    @rule()
    def begin_compaction(self) -> None:
        self.machine.happen(LifeEvent.COMPACTION_BEGAN)
        self.compaction = True

    @precondition(lambda self: self.compaction)
    @rule()
    def end_compaction(self) -> None:
        self.machine.happen(LifeEvent.COMPACTION_ENDED)
        self.compaction = False

    @rule()
    def pause(self) -> None:
        self.machine.happen(LifeEvent.PAUSED)
        self.paused = True

    @rule()
    def resume(self) -> None:
        self.machine.happen(LifeEvent.RESUMED)
        self.paused = False

    @rule()
    def lose_login(self) -> None:
        self.machine.happen(LifeEvent.LOGIN_LOST)
        self.locked_out = True

    @rule()
    def try_login(self) -> None:
        self.machine.happen(LifeEvent.LOGIN_TRIED)
        self.locked_out = False

    @rule()
    def reach_a_limit(self) -> None:
        self.machine.happen(LifeEvent.LIMITED)
        self.limited = True

    @rule()
    def limit_ends(self) -> None:
        self.machine.happen(LifeEvent.LIMIT_OVER)
        self.limited = False

    @rule()
    def nap(self) -> None:
        self.machine.happen(LifeEvent.NAP_BEGAN)
        self.naps = True

    @rule()
    def nap_ends(self) -> None:
        self.machine.happen(LifeEvent.NAP_ENDED)
        self.naps = False


AnyLife.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAnyLife = pytest.mark.slow(AnyLife.TestCase)


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) | {TurnState.STARTING} == set(TurnState)
    assert {state for state, _ in TRANSITIONS} == set(TurnState)
