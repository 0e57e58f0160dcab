"""`docs/agent-config.md` names every key of `agent.toml` and no other, and its schema is the code's."""

import json
import re
from pathlib import Path

from hive_contracts.agent_file import AgentFile, parse
from hive_contracts.models import AgentLimits

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "agent-config.md").read_text()


def rows(text: str) -> dict[str, str]:
    """Key → meaning, of a table."""
    lines = (line.split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {cells[0].strip("| `"): cells[-1].removesuffix(" |") for cells in lines}


def test_every_key_is_there_with_its_meaning() -> None:
    keys, limits = PAGE.split("## `[limits]`")
    assert rows(keys) == {name: field.description for name, field in AgentFile.model_fields.items()}
    assert rows(limits) == {name: field.description for name, field in AgentLimits.model_fields.items()}


def test_the_example_is_taken() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse(example).config.limits.memory_mib == 1024


def test_the_schema_is_the_codes() -> None:
    code = json.dumps(AgentFile.model_json_schema(), indent=2) + "\n"
    assert (DOCS / "agent.schema.json").read_text() == code
