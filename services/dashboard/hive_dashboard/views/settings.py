"""Settings, what retention removes, the components and the palette."""

from dataclasses import dataclass
from typing import ClassVar

from hive_contracts.agents import HiveInfo
from hive_contracts.retention import RetentionSwept
from hive_dashboard.reference import Section
from hive_dashboard.registry import ServiceView
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class SettingsPage:
    TEMPLATE: ClassVar[str] = "settings.html"

    shell: Shell
    info: HiveInfo | None
    services: tuple[ServiceView, ...]
    sections: tuple[Section, ...]
    debug: bool


@dataclass(frozen=True, slots=True)
class ComponentsPage:
    TEMPLATE: ClassVar[str] = "components.html"

    shell: Shell


@dataclass(frozen=True, slots=True)
class RetentionPage:
    """`last`: what was swept; `planned`: what a sweep would remove, where that was asked for."""

    TEMPLATE: ClassVar[str] = "retention.html"

    shell: Shell
    last: RetentionSwept | None
    planned: RetentionSwept | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A link of the palette; `about` says what is there."""

    name: str
    href: str
    about: str


@dataclass(frozen=True, slots=True)
class PalettePage:
    TEMPLATE: ClassVar[str] = "palette.html"

    shell: Shell
    places: tuple[Place, ...]
