"""Approvals: what an agent asked for, as an exact commit, and what the operator made of it.

A request comes as a wish in the manager's outbox with its commit in a git bundle; the supervisor pins the commit before
anybody sees it. The operator's decision names the commit that was looked at: another one voids it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload
from hive_contracts.names import AgentName

MAX_BUNDLE_BYTES: Final = 1024**2
MAX_NOTE: Final = 4000
MAX_DESCRIPTION: Final = 2000

Bundle = Annotated[str, Field(max_length=MAX_BUNDLE_BYTES * 4 // 3 + 4, pattern=r"^[A-Za-z0-9+/]*={0,2}$", repr=False)]
"""A git bundle in base 64."""


class ApprovalKind(StrEnum):
    """What is to be done with the commit."""

    APPLY_COMMIT = "apply_commit"


class ApprovalState(StrEnum):
    """`APPROVED` is on its way to `DEPLOYED` or `FAILED`; all others but `PENDING` are final."""

    PENDING = "pending"
    APPROVED = "approved"
    DEPLOYED = "deployed"
    FAILED = "failed"
    DENIED = "denied"
    CHANGES_REQUESTED = "changes_requested"
    EXPIRED = "expired"
    VOID = "void"

    @property
    def is_final(self) -> bool:
        return self not in (ApprovalState.PENDING, ApprovalState.APPROVED)


class Decision(StrEnum):
    """What the operator says to a request."""

    APPROVE = "approve"
    DENY = "deny"
    REQUEST_CHANGES = "request_changes"


class ApprovalView(BaseModel):
    """One approval. `base` is what ran when it was asked for; both are whole shas.

    `description` and `note` are texts of an agent and of the operator. `error` says why it failed, expired or is void.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: ApprovalKind
    agent: str
    requester: str
    state: ApprovalState
    commit: str
    base: str
    description: str = ""
    requested_at: datetime
    expires_at: datetime
    resolved_at: datetime | None = None
    note: str = ""
    error: str = ""


class ApprovalRequested(Payload):
    """A commit waits for the operator."""

    TYPE: ClassVar[str] = "approval.requested"

    approval: ApprovalView


class ApprovalResolved(Payload):
    """The operator decided, or it came to its end otherwise; once for each state that it reaches."""

    TYPE: ClassVar[str] = "approval.resolved"

    approval: ApprovalView


class ResolveApproval(Payload):
    """To the supervisor: the operator's decision on the `commit` that was looked at."""

    TYPE: ClassVar[str] = "approval.resolve"

    id: str = Field(max_length=64)
    decision: Decision
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    note: str = Field(default="", max_length=MAX_NOTE)


class FetchConfig(Payload):
    """A manager's wish. Answered with `main` and its `bundle`, in base 64."""

    TYPE: ClassVar[str] = "config.fetch"

    name: AgentName


class RequestApply(Payload):
    """A manager's wish: have this commit of an agent's configuration deployed. Answered with the approval's id."""

    TYPE: ClassVar[str] = "config.request_apply"

    name: AgentName
    commit: str = Field(max_length=40)
    bundle: Bundle
    description: str = Field(default="", max_length=MAX_DESCRIPTION)
