"""Who may sign in, and what was done."""

from dataclasses import dataclass
from typing import ClassVar

from hive_dashboard.store import SessionView
from hive_dashboard.store_audit import Action
from hive_dashboard.store_tokens import TokenView
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class AccessPage:
    """`own` is the id of the session that looks."""

    TEMPLATE: ClassVar[str] = "access.html"

    shell: Shell
    tokens: list[TokenView]
    sessions: list[SessionView]
    own: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`who` and `target` narrow it, where they are not empty; `older` is the address of what came before."""

    TEMPLATE: ClassVar[str] = "audit.html"

    shell: Shell
    actions: list[Action]
    who: str = ""
    target: str = ""
    older: str = ""
