"""Drafts: agents that are not there yet. A name, a repository with a first commit, and nothing that runs.

A manager makes one at once and without asking, works on its configuration, and asks for the agent to be made from one
exact commit. From the draft on the name is taken.
"""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.approvals import MAX_DESCRIPTION, Bundle
from hive_contracts.envelope import Payload
from hive_contracts.names import AgentName


class DraftView(BaseModel):
    """One draft. `author` is who works on it: a manager, or the operator who took it over.

    `commit` is the last that the hive has seen, with its `subject` (text of an agent). `revives`: a destroyed agent of
    that name is kept, and would come back.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    author: str
    created_at: datetime
    commit: str
    subject: str = ""
    committed_at: datetime
    revives: bool = False


class RequestSpawn(Payload):
    """A manager's wish: have an agent made with the default configuration. Answered with the approval's id."""

    TYPE: ClassVar[str] = "spawn.request"

    name: AgentName
    description: str = Field(default="", max_length=500)


class RequestSpawnDraft(Payload):
    """A manager's wish: make a draft, at once. Answered with its commit, and with what it would revive."""

    TYPE: ClassVar[str] = "spawn.request_draft"

    name: AgentName


class RequestSpawnCommit(Payload):
    """A manager's wish: have an agent made from this commit of its draft. Answered with the approval's id."""

    TYPE: ClassVar[str] = "spawn.request_commit"

    name: AgentName
    commit: str = Field(max_length=40)
    bundle: Bundle
    description: str = Field(default="", max_length=MAX_DESCRIPTION)


class DiscardDraft(Payload):
    """To the supervisor: the operator wants no such agent. Its requests are void, its name is free."""

    TYPE: ClassVar[str] = "draft.discard"

    name: AgentName


class TakeOverDraft(Payload):
    """To the supervisor: from now on the operator works on it, and the manager no more. Its requests are void."""

    TYPE: ClassVar[str] = "draft.take_over"

    name: AgentName


class DraftChanged(Payload):
    """There is a draft, or it has another commit or author. `taken_over`: the operator took it from a manager."""

    TYPE: ClassVar[str] = "draft.changed"

    draft: DraftView
    taken_over: bool = False


class DraftEnded(Payload):
    """It is no draft any more: `became` an agent, or it was discarded."""

    TYPE: ClassVar[str] = "draft.ended"

    draft: DraftView
    became: bool
