"""`docs/reliability.md` names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_trap_has_its_tests() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(rows) > 10
    for row in rows:
        for part in row.split(";"):
            if found := re.search(r"`(tests/\S+\.py)`", part):
                source = (ROOT / found[1]).read_text()
            for name in re.findall(r"`(test_\w+)`", part):
                assert f"def {name}(" in source, name
