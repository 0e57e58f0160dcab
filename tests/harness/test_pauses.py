"""How long the agent waits between tries."""

import pytest

from hive_contracts.agents import TurnOutcome
from hive_harness.pauses import Pauses

LONG_S = 100.0


@pytest.fixture
def pauses() -> Pauses:
    """Of which the eighth of a kind is over 64 s, and the first at most 1 s."""
    return Pauses(first_s=1, limit_s=LONG_S)


def _fail(pauses: Pauses, outcome: TurnOutcome, head: str) -> float:
    """The longest of eight."""
    return max(pauses.next_s(outcome, head) for _ in range(8))


def test_they_grow_with_each_try_of_a_message_up_to_a_limit(pauses: Pauses) -> None:
    assert pauses.next_s(TurnOutcome.FAILED, "m-1") <= 1
    assert LONG_S / 2 <= _fail(pauses, TurnOutcome.FAILED, "m-1") <= LONG_S


def test_a_message_does_not_wait_longer_for_what_the_one_before_it_did(pauses: Pauses) -> None:
    _fail(pauses, TurnOutcome.FAILED, "m-1")
    assert pauses.next_s(TurnOutcome.FAILED, "m-2") <= 1


def test_what_holds_up_the_agent_does_so_whichever_message_is_tried(pauses: Pauses) -> None:
    _fail(pauses, TurnOutcome.OVERLOADED, "m-1")
    assert pauses.next_s(TurnOutcome.OVERLOADED, "m-2") >= LONG_S / 2


def test_all_begin_anew_when_a_turn_ended_well(pauses: Pauses) -> None:
    for outcome in (TurnOutcome.FAILED, TurnOutcome.NETWORK):
        first = pauses.next_s(outcome, "m-1")
        _fail(pauses, outcome, "m-1")
        pauses.reset()
        assert pauses.next_s(outcome, "m-1") <= 2 * first
