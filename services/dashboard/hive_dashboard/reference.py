"""The hive's settings with their meaning: what `docs/settings.md` says of each, and what holds here.

The page is in the package; in a checkout it is read where it is written. Settings are those that `hive.toml` and the
environment give: the services read the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hive_runtime.errors import SettingsError
from hive_runtime.settings import FILE_NAME, read_file

_PACKAGED: Final = Path(__file__).parent / "settings.md"
_CHECKOUT: Final = Path(__file__).parents[3] / "docs" / "settings.md"
_SECTION: Final = re.compile(r"## `\[(\w+)\]`")
_ROW: Final = re.compile(r"\| `(\w+)` \| (.*?) \| ?(.*?) *\|$")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_SECRET: Final = re.compile("password|secret|token|key$")

_ON: Final = ("true", "1", "yes", "y", "on", "t")
_OFF: Final = ("false", "0", "no", "n", "off", "f")
_SWITCHED: Final = {**dict.fromkeys(_ON, "on"), **dict.fromkeys(_OFF, "off")}
"""What pydantic takes for a switch, and how pages show it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """`meaning` in pieces, every second one code. `origin`: where its value comes from, empty for the default."""

    key: str
    value: str
    meaning: tuple[str, ...]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    settings: tuple[Setting, ...]


def sections(data_dir: Path, environ: Mapping[str, str]) -> tuple[Section, ...]:
    """Blocks. A `hive.toml` that cannot be read counts as none: the services said so when they started."""
    try:
        _, given = read_file(data_dir / FILE_NAME)
    except SettingsError:
        given = {}
    return tuple(
        Section(name, tuple(_setting(name, row, given.get(name, {}), environ) for row in rows))
        for name, rows in _documented().items()
    )


def _setting(section: str, row: tuple[str, str, str], given: Any, environ: Mapping[str, str]) -> Setting:
    key, default, meaning = row
    words = _words if default in ("true", "false") else str
    variable = f"HIVE_{section}_{key}".upper()
    value, origin = default, ""
    if environ.get(variable):
        value, origin = environ[variable], variable
    elif isinstance(given, dict) and key in given:
        value, origin = str(given[key]), FILE_NAME
    return Setting(key, words(_without_secrets(key, value)), tuple(_LINK.sub(r"\1", meaning).split("`")), origin)


def _words(value: str) -> str:
    """A switch as people say it, however it was written."""
    return _SWITCHED.get(value.lower(), value)


def _without_secrets(key: str, value: str) -> str:
    if _SECRET.search(key) and value not in {"none", "empty"}:
        return "set, and not shown"
    address = urlsplit(value) if "://" in value else None
    return value.replace(f"{address.netloc.rpartition('@')[0]}@", "…@") if address and "@" in address.netloc else value


@cache
def _documented() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """Section → key, default and meaning of each, as the page has them."""
    page = _PACKAGED if _PACKAGED.exists() else _CHECKOUT
    found: dict[str, list[tuple[str, str, str]]] = {}
    for line in page.read_text().splitlines() if page.exists() else ():
        if heading := _SECTION.match(line):
            found[heading[1]] = []
        elif (row := _ROW.match(line)) and found:
            found[list(found)[-1]].append((row[1], row[2].strip("`"), row[3]))
    return {name: tuple(rows) for name, rows in found.items()}
