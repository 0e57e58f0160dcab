"""`docs/turns.md` prints the table of what follows from how a turn ended, and the states."""

import re
from pathlib import Path

from hive_contracts.agents import TurnOutcome, TurnState
from hive_contracts.outcomes import CONSEQUENCES, Next, is_done

PAGE = (Path(__file__).parents[2] / "docs" / "turns.md").read_text()


def _section(title: str) -> list[list[str]]:
    """The rows of the section's table."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (found,) = [part for part in text if part.startswith(title)]
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in found.splitlines() if line.startswith("| `")]


def test_every_outcome_has_its_consequence_and_the_page_says_which() -> None:
    assert set(CONSEQUENCES) == set(TurnOutcome)
    expected = [
        [f"`{outcome}`", follows.means, follows.so, "yes" if follows.counts else "no"]
        for outcome, follows in CONSEQUENCES.items()
    ]
    assert _section("Outcomes") == expected


def test_every_state_is_on_the_page() -> None:
    assert {row[0].strip("`") for row in _section("States")} == set(TurnState)


def test_what_is_done_with_is_not_counted_and_what_waits_has_its_state() -> None:
    assert {outcome for outcome in TurnOutcome if is_done(outcome)} == {TurnOutcome.OK, TurnOutcome.CANCELLED}
    assert not any(follows.counts for follows in CONSEQUENCES.values() if follows.next is Next.ACK)
    states = {follows.next: follows.state for follows in CONSEQUENCES.values()}
    assert (states[Next.PARK], states[Next.LOGIN]) == (TurnState.RATE_LIMITED, TurnState.NEEDS_LOGIN)
