"""How a browser wants its pages: light or dark, which headings, whether single keys do something. Kept in a cookie.

The cookie holds words of closed lists and nothing else; whatever does not fit is as if it were not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlencode

LOOK_DAYS: Final = 400

E = TypeVar("E", bound=StrEnum)


class Scheme(StrEnum):
    """`AUTO`: as the browser's own setting."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


class Theme(StrEnum):
    PLAIN = "plain"
    VIBEC0RE = "vibec0re"


class Keys(StrEnum):
    """`OFF`: single keys do nothing, for those who speak to their browser; Ctrl-K stays."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Look:
    scheme: Scheme = Scheme.AUTO
    theme: Theme = Theme.PLAIN
    keys: Keys = Keys.ON

    def cookie(self) -> str:
        return urlencode({item.name: getattr(self, item.name).value for item in fields(self)})


def cookie_name(port: int) -> str:
    """Browsers share cookies between ports."""
    return f"hive_look_{port}"


def look_of(values: Mapping[str, str]) -> Look:
    """From a form, or from what `Look.cookie` made of one."""
    return Look(_one_of(Scheme, values, "scheme"), _one_of(Theme, values, "theme"), _one_of(Keys, values, "keys"))


def look_in(cookie: str) -> Look:
    return look_of({key: values[0] for key, values in parse_qs(cookie[:200]).items()})


def _one_of(kind: type[E], values: Mapping[str, str], name: str) -> E:
    try:
        return kind(values.get(name, ""))
    except ValueError:
        return next(iter(kind))


LEET: Final = {
    "Needs you": "M1ND H4S QU3STI0NS",
    "Questions": "M1ND H4S QU3STI0NS",
    "Approvals": "P3NDING APPR0VALS",
    "Kept state": "K3PT ST4T3",
    "Agents": "C0NTAINERS",
    "Messages": "MESS4GE FL0W",
    "Your inbox": "0PER4T0R 1NB0X",
    "Write": "TR4NSM1T",
    "Dead letters": "D34D L3TT3RS",
    "Settings": "S3TT1NGS",
    "Retention": "R3T3NT10N",
    "Audit": "4UD1T",
}
"""Headings as the first hive had them. Screen readers are given the plain ones."""
