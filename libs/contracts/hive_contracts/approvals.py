"""Approvals: what an agent asked for, mostly as an exact commit, and what the operator made of it.

A request comes as a wish in the manager's outbox with its commit in a git bundle; the supervisor pins the commit before
anybody sees it. The operator's decision names the commit that was looked at: another one voids it. What the operator
does to a configuration without being asked is kept as an approval too, with the operator as who asked.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.agent_file import MAX_FILE_BYTES
from hive_contracts.envelope import Payload
from hive_contracts.names import AgentName

MAX_BUNDLE_BYTES: Final = 1024**2
MAX_NOTE: Final = 4000
MAX_DESCRIPTION: Final = 2000
SHA_OR_NONE: Final = r"^([0-9a-f]{40})?$"

Bundle = Annotated[str, Field(max_length=MAX_BUNDLE_BYTES * 4 // 3 + 4, pattern=r"^[A-Za-z0-9+/]*={0,2}$", repr=False)]
"""A git bundle in base 64."""


class ApprovalKind(StrEnum):
    """What is to be done. All but `PURGE` have a commit; that of `SPAWN` is the default, or what was kept."""

    SPAWN = "spawn"
    SPAWN_COMMIT = "spawn_commit"
    APPLY_COMMIT = "apply_commit"
    PERMISSION_PATTERN = "permission_pattern"
    PURGE = "purge"

    @property
    def spawns(self) -> bool:
        """It makes an agent, or revives one."""
        return self in (ApprovalKind.SPAWN, ApprovalKind.SPAWN_COMMIT)


class BaseKind(StrEnum):
    """What a commit is compared with: what runs, what was approved last, what was proposed before it."""

    RUNNING = "running"
    LAST_APPROVED = "last_approved"
    PREVIOUS_PROPOSAL = "previous_proposal"


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
    """One approval. `base` is what `main` was when it was asked for; it and `commit` are whole shas, or empty.

    `pattern`: of `PERMISSION_PATTERN`, the shell commands that would need no asking. `revives`: a spawn would bring
    back what was kept of a destroyed agent.
    `description` and `note` are texts of an agent and of the operator. `error` says why it failed, expired or is void.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: ApprovalKind
    agent: str
    requester: str
    state: ApprovalState
    commit: str = ""
    base: str = ""
    description: str = ""
    pattern: str = ""
    revives: bool = False
    requested_at: datetime
    expires_at: datetime
    resolved_at: datetime | None = None
    note: str = ""
    error: str = ""


class ApprovalRequested(Payload):
    """A request waits for the operator."""

    TYPE: ClassVar[str] = "approval.requested"

    approval: ApprovalView


class ApprovalResolved(Payload):
    """The operator decided, or it came to its end otherwise; once for each state that it reaches."""

    TYPE: ClassVar[str] = "approval.resolved"

    approval: ApprovalView


class ResolveApproval(Payload):
    """To the supervisor: the operator's decision on the `commit` that was looked at; empty where there is none."""

    TYPE: ClassVar[str] = "approval.resolve"

    id: str = Field(max_length=64)
    decision: Decision
    commit: str = Field(default="", pattern=SHA_OR_NONE)
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


class RequestPurge(Payload):
    """A manager's wish: have an agent destroyed with all that it has. Answered with the approval's id."""

    TYPE: ClassVar[str] = "agent.request_purge"

    name: AgentName
    description: str = Field(default="", max_length=MAX_DESCRIPTION)


class ReadConfig(Payload):
    """To the supervisor. Answered with `main`, its `text`, the other `files`, and what was `deployed`, newest first."""

    TYPE: ClassVar[str] = "config.read"

    name: AgentName


class EditConfig(Payload):
    """To the supervisor: the operator's own `agent.toml` for an agent, on what was looked at.

    It is deployed as an approved commit is, and answered with the approval's id. Of a draft that the operator took
    over, it is the draft that changes.
    """

    TYPE: ClassVar[str] = "config.edit"

    name: AgentName
    before: str = Field(pattern=r"^[0-9a-f]{40}$")
    text: str = Field(max_length=MAX_FILE_BYTES)
    description: str = Field(default="", max_length=MAX_DESCRIPTION)


class RollBackConfig(Payload):
    """To the supervisor: deploy again what `approval` deployed; empty for what was deployed before what runs.

    Answered with the approval's id.
    """

    TYPE: ClassVar[str] = "config.roll_back"

    name: AgentName
    approval: str = Field(default="", max_length=64)
