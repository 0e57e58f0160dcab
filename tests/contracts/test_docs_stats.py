"""`docs/stats.md` prints the table of keys, and every figure that hyperhive counts is in it."""

import re
from pathlib import Path

from hive_contracts.agents import TurnOutcome
from hive_contracts.stats import KEYS, key_of
from hive_contracts.turns import TurnEnded
from hive_runtime.records.stats import stats_of

PAGE = Path(__file__).parents[2] / "docs" / "stats.md"


def test_the_page_prints_the_table_of_keys() -> None:
    text = PAGE.read_text()
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{name}`", str(key.kind), key.unit, key.means] for name, key in KEYS.items()]


def test_whatever_is_counted_has_its_sentence() -> None:
    for outcome in TurnOutcome:
        counted = stats_of(TurnEnded(turn_id="t-1", seq=0, outcome=outcome))
        assert all(key_of(key).means for key in counted)
