"""`docs/settings.md` names every setting that exists, with its default, and no other."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from hive_broker.config import BrokerSettings
from hive_cli.stack.config import RedisSettings
from hive_dashboard.config import DashboardSettings
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.settings import Settings
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.retention.config import RetentionSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SECTIONS: dict[str, type[Settings]] = {
    "redis": RedisSettings,
    "broker": BrokerSettings,
    "supervisor": SupervisorSettings,
    "retention": RetentionSettings,
    "images": ImageSettings,
    "dashboard": DashboardSettings,
    "harness": HarnessSettings,
}


def documented() -> dict[str, dict[str, str]]:
    """Section → key → the default as the page has it."""
    found: dict[str, dict[str, str]] = {}
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"## `\[(\w+)\]`", line):
            found[heading[1]] = {}
        elif row := re.match(r"\| `(\w+)` \| (.*?) \|", line):
            found[list(found)[-1]][row[1]] = row[2].strip("`")
    return found


def shown(default: object) -> str:
    match default:
        case bool():
            return str(default).lower()
        case None | ():
            return "none"
        case "":
            return "empty"
        case StrEnum():
            return default.value
        case _:
            return str(default)


def test_every_section_is_on_the_page() -> None:
    assert list(documented()) == list(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_there_with_its_default_and_no_other(section: str) -> None:
    fields = SECTIONS[section].model_fields
    assert documented()[section] == {name: shown(field.get_default()) for name, field in fields.items()}
