"""What every page has around it, what became of an action, and the pages that stand in for another."""

from dataclasses import dataclass, field
from typing import ClassVar

from hive_dashboard.look import Look


@dataclass(frozen=True, slots=True)
class Flash:
    """What became of the last action. `tone`: good, note or bad."""

    text: str
    tone: str = "good"


@dataclass(frozen=True, slots=True)
class FlashFragment:
    TEMPLATE: ClassVar[str] = "flash.html"

    flashes: tuple[Flash, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Shell:
    """What every page has around it. `needs`: how much waits for the operator.

    `stream` is the address of its events; empty for a page that stands still.
    """

    title: str
    csrf: str = ""
    path: str = "/"
    stream: str = ""
    look: Look = field(default_factory=Look)
    needs: int = 0
    unread: int = 0
    dead: int = 0
    pending: int = 0
    warnings: tuple[str, ...] = ()
    flashes: tuple[Flash, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorPage:
    TEMPLATE: ClassVar[str] = "error.html"

    shell: Shell
    status: int
    heading: str
    detail: str


@dataclass(frozen=True, slots=True)
class SignInPage:
    TEMPLATE: ClassVar[str] = "sign_in.html"

    shell: Shell
    error: str = ""
    next: str = "/"
