"""The oracle finds each thing that must not be, and nothing in a run where all is well."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hive_cli.chaos.driver import Ledger
from hive_cli.chaos.oracle import Evidence, Verdict, judge
from hive_cli.chaos.plan import Plan, Planned
from hive_contracts.messages import MessageState, MessageView
from hive_contracts.names import OPERATOR

PLAN = Plan(
    [
        Planned(0, OPERATOR, "ada"),
        Planned(1, OPERATOR, "ada"),
        Planned(2, "ada", "lin", parent=0),
        Planned(3, "ada", "lin", parent=0),
        Planned(4, "ada", OPERATOR, parent=1),
    ]
)


def view(number: int, state: MessageState = MessageState.ACKED) -> MessageView:
    one = PLAN.messages[number]
    return MessageView(
        id=f"m-{number}",
        sender=one.sender,
        recipient=one.recipient,
        body=PLAN.body(number),
        state=state,
        sent_at=datetime(2026, 1, 1, tzinfo=UTC),
        trace_id="t",
    )


@pytest.fixture
def well() -> Evidence:
    """All five, handled once each and in order."""
    return Evidence([view(n) for n in range(5)], {"ada": ["m-0", "m-1"], "lin": ["m-2", "m-3"]})


def judged(evidence: Evidence, *, refused: int | None = None) -> Verdict:
    ledger = Ledger(accepted={0: "m-0", 1: "m-1"})
    if refused is not None:
        ledger.refused[refused] = "no"
        ledger.accepted.pop(refused)
    return judge(PLAN, ledger, evidence)


def test_a_run_in_which_all_went_well_is_without_fault(well: Evidence) -> None:
    assert judged(well) == Verdict()


def test_what_is_nowhere_is_lost(well: Evidence) -> None:
    assert judged(replace(well, messages=well.messages[:-1])).lost == ["chaos-4 from ada to operator is nowhere"]


def test_what_was_acknowledged_under_another_id_is_lost(well: Evidence) -> None:
    other = well.messages[0].model_copy(update={"id": "m-9"})
    assert judged(replace(well, messages=[other, *well.messages[1:]])).lost


def test_what_is_there_twice_is_a_duplicate(well: Evidence) -> None:
    twice = well.messages[4].model_copy(update={"id": "m-9"})
    assert judged(replace(well, messages=[*well.messages, twice])).duplicated


def test_what_two_turns_handled_is_a_duplicate(well: Evidence) -> None:
    assert judged(replace(well, handled={**well.handled, "lin": ["m-2", "m-3", "m-3"]})).duplicated


def test_what_nobody_planned_is_unexpected(well: Evidence) -> None:
    strange = well.messages[4].model_copy(update={"id": "m-9", "body": "echo: chaos-1"})
    assert judged(replace(well, messages=[*well.messages, strange])).unexpected


def test_another_order_of_sending_or_handling_is_found(well: Evidence) -> None:
    messages = [well.messages[1], well.messages[0], *well.messages[2:]]
    assert "accepted" in judged(replace(well, messages=messages)).reordered[0]
    assert "handled" in judged(replace(well, handled={**well.handled, "lin": ["m-3", "m-2"]})).reordered[0]


def test_what_is_neither_acked_nor_dead_is_unfinished(well: Evidence) -> None:
    messages = [*well.messages[:4], view(4, MessageState.IN_TURN)]
    assert judged(replace(well, messages=messages)).unfinished


def test_stores_that_tell_of_different_ends_disagree(well: Evidence) -> None:
    assert judged(replace(well, handled={**well.handled, "lin": ["m-2"]})).disagreeing
    assert judged(replace(well, handled={**well.handled, "lin": ["m-2", "m-3", "m-9"]})).disagreeing


def test_what_would_have_followed_from_a_refused_or_dead_message_is_not_missed(well: Evidence) -> None:
    refused = replace(well, messages=[well.messages[n] for n in (1, 4)], handled={"ada": ["m-1"], "lin": []})
    assert judged(refused, refused=0) == Verdict()
    dead = [view(0, MessageState.DEAD), well.messages[1], well.messages[4]]
    assert judged(Evidence(dead, {"ada": ["m-1"], "lin": []})) == Verdict()
