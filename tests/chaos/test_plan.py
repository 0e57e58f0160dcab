"""What a chaos run is going to send and kill: decided by the seed alone, and all of it known beforehand."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_cli.chaos.killer import WEIGHTS, strikes
from hive_cli.chaos.plan import Plan, make, number_of
from hive_contracts.messages import MAX_BODY_BYTES
from hive_contracts.names import OPERATOR

AGENTS = ["hm1nd", "bee-01", "bee-02"]


def said(plan: Plan, number: int) -> list[tuple[str, str]]:
    """Recipient and body of each send that a message's directives ask for."""
    found = []
    for line in plan.body(number).splitlines():
        if line.startswith("!send "):
            _, to, body = line.split(" ", 2)
            found.append((to, body))
        elif line.startswith("!call send "):
            arguments = json.loads(line.removeprefix("!call send "))
            found.append((arguments["to"], arguments["body"]))
    return found


@given(seed=st.integers(0, 10_000), count=st.integers(10, 200))
@settings(max_examples=30, deadline=None)
def test_what_the_bodies_ask_for_is_exactly_what_is_planned(seed: int, count: int) -> None:
    plan = make(seed, AGENTS, count)
    assert [one.number for one in plan.messages] == list(range(count))
    for one in plan.messages:
        assert one.sender != one.recipient
        assert number_of(plan.body(one.number)) == one.number
        assert len(plan.body(one.number).encode()) <= MAX_BODY_BYTES
        assert said(plan, one.number) == [(c.recipient, plan.body(c.number)) for c in plan.children(one.number)]
        assert all(child.sender == one.recipient for child in plan.children(one.number))
        assert one.recipient != OPERATOR or not plan.children(one.number)


def test_the_same_seed_makes_the_same_run_and_another_one_does_not() -> None:
    assert make(7, AGENTS, 100).messages == make(7, AGENTS, 100).messages
    assert make(7, AGENTS, 100).messages != make(8, AGENTS, 100).messages
    assert strikes(7, 20) == strikes(7, 20)
    assert strikes(7, 20) != strikes(8, 20)


def test_every_kind_of_process_is_killed_in_order_of_the_moments() -> None:
    planned = strikes(1, 25)
    assert {strike.kind for strike in planned} == set(WEIGHTS)
    assert [strike.moment for strike in planned] == sorted(strike.moment for strike in planned)


def test_what_follows_from_a_message_is_its_whole_tree() -> None:
    plan = make(3, AGENTS, 200)
    followers = set().union(*(plan.below(root.number) for root in plan.roots))
    assert followers == {one.number for one in plan.messages} - {root.number for root in plan.roots}
