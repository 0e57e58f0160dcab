"""`docs/operations.md` names every check of `hive doctor`, and no other."""

import re
from pathlib import Path

from hive_cli.doctor.registry import CHECKS
from hive_supervisor.doctor.registry import CHECKS as THEIRS

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_every_check_is_in_the_table_and_no_other() -> None:
    table = PAGE.read_text().partition("| check | looks at |")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`([\w-]+)`", line.split("|")[1])]
    assert sorted(named) == sorted([check.name for check in CHECKS] + [check.name for check in THEIRS])
