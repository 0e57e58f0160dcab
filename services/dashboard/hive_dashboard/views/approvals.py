"""Approvals, and one with its diff."""

from dataclasses import dataclass, field
from typing import ClassVar

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_dashboard.diff import DiffFile
from hive_dashboard.outlook import Base, Outlook
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Of the history; empty for all."""

    agent: str = ""
    kind: ApprovalKind | None = None
    state: ApprovalState | None = None


@dataclass(frozen=True, slots=True)
class ApprovalsPage:
    """`pending` wait for the operator, oldest first; `history` are the others, newest first.

    `wider`: how many rights each that waits would widen. `asked` is what the filter was set to, `agents` what it
    offers; `older` the address of the next page.
    """

    TEMPLATE: ClassVar[str] = "approvals.html"

    shell: Shell
    pending: tuple[ApprovalView, ...]
    history: tuple[ApprovalView, ...]
    wider: dict[str, int] = field(default_factory=dict)
    asked: ApprovalFilter = ApprovalFilter()
    agents: tuple[str, ...] = ()
    older: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """`base` is what the files are drawn against, of `bases`. `only`: the one file that is drawn, else all are.

    `cut`: the diff is longer than what is kept of one.
    """

    TEMPLATE: ClassVar[str] = "approval.html"

    shell: Shell
    approval: ApprovalView
    outlook: Outlook
    files: tuple[DiffFile, ...]
    bases: tuple[Base, ...] = ()
    base: BaseKind = BaseKind.RUNNING
    only: str = ""
    cut: bool = False
    note: str = ""
