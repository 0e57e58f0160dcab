"""What the manager asks of the supervisor: put into its own outbox, and passed on by the broker as a command.

`hive:commands:supervisor` is written by the host's side only, so a command's source is true: an agent's name there,
after `AGENT_SOURCE`, means that the broker saw it in that agent's outbox and knows it as a manager. The supervisor
takes no other kind from an agent, and answers in the agent's control stream.
"""

from typing import ClassVar, Final

from pydantic import Field

from hive_contracts.agents import RebuildAgent, RestartAgent, StartAgent, StopAgent
from hive_contracts.approvals import FetchConfig, RequestApply, RequestPurge
from hive_contracts.drafts import RequestSpawn, RequestSpawnCommit, RequestSpawnDraft
from hive_contracts.envelope import Payload
from hive_contracts.names import AgentName

MAX_LOG_LINES: Final = 200
AGENT_SOURCE: Final = "agent/"
"""Before an agent's name, in a command's source. No service is called so."""


class ListAgents(Payload):
    """Answered with every agent: its name, role, description, container, what it does, unread messages."""

    TYPE: ClassVar[str] = "agents.list"


class GetLogs(Payload):
    """Answered with the last lines that an agent's container wrote."""

    TYPE: ClassVar[str] = "agent.logs"

    name: AgentName
    lines: int = Field(default=50, ge=1, le=MAX_LOG_LINES)


LIFECYCLE: Final[tuple[type[Payload], ...]] = (StartAgent, StopAgent, RestartAgent, RebuildAgent)
"""Those that name an agent which may not be the one that asks."""

REQUESTS: Final[tuple[type[Payload], ...]] = (RequestApply, RequestSpawn, RequestSpawnCommit, RequestPurge)
"""Those that wait for the operator."""

WISHES: Final[tuple[type[Payload], ...]] = (
    *LIFECYCLE,
    ListAgents,
    GetLogs,
    FetchConfig,
    RequestSpawnDraft,
    *REQUESTS,
)
