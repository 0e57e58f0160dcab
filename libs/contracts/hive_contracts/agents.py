"""Agents: what the supervisor says of them, what their harness says, and the commands that concern them."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload
from hive_contracts.models import AgentConfig, AgentModel
from hive_contracts.names import AgentName


class Role(StrEnum):
    MANAGER = "manager"
    AGENT = "agent"


class Engine(StrEnum):
    """What runs an agent's turns."""

    CLAUDE = "claude"
    SCRIPTED = "scripted"


class Desired(StrEnum):
    """What the operator wants of an agent."""

    RUNNING = "running"
    STOPPED = "stopped"
    DESTROYED = "destroyed"
    PURGED = "purged"

    @property
    def is_there(self) -> bool:
        """Others can write to it."""
        return self in (Desired.RUNNING, Desired.STOPPED)


class ContainerStatus(StrEnum):
    """What a container is doing. `CRASHED`: it ended unasked and waits for its restart. `QUARANTINED`: it crashed too
    often, and waits for somebody to start it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    CRASHED = "crashed"
    QUARANTINED = "quarantined"


class Operation(BaseModel):
    """What is being done to a container now: `start`, `stop`, `restart`, `rebuild` or `purge`; `step`: how far."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    verb: str
    since: datetime
    step: str = ""


class AgentRecord(BaseModel):
    """An agent as the supervisor knows it: a field of `hive:agents`. Trustworthy: no agent can write it.

    `id_base`: the first of its 65,536 user ids on the machine. `operation`: what is under way; `queued`: what follows.
    `needs_update`: in which way its container is behind; empty when it is not. `signed_in`: of a destroyed one, whether
    its engine's login is kept.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    role: Role = Role.AGENT
    engine: Engine
    engine_reason: str = ""
    desired: Desired = Desired.RUNNING
    container: ContainerStatus = ContainerStatus.STOPPED
    container_since: datetime
    detail: str = ""
    restarts: int = 0
    operation: Operation | None = None
    queued: str = ""
    needs_update: str = ""
    signed_in: bool = False
    created_at: datetime
    number: int = 0
    id_base: int | None = None
    model: AgentModel = Field(default_factory=AgentModel)
    config: AgentConfig = Field(default_factory=AgentConfig)

    @classmethod
    def read(cls, text: str) -> Self:
        """What a newer supervisor wrote besides is skipped at any depth. Raises `ValidationError`."""
        return cls.model_validate_json(text, extra="ignore")


class TurnState(StrEnum):
    """What an agent is doing, by its harness."""

    STARTING = "starting"
    NEEDS_LOGIN = "needs_login"
    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    NAPPING = "napping"
    RATE_LIMITED = "rate_limited"
    PAUSED = "paused"


class TurnOutcome(StrEnum):
    """How a turn ended. What follows from each is in `outcomes`."""

    OK = "ok"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    PROMPT_TOO_LONG = "prompt_too_long"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    OVERLOADED = "overloaded"
    NETWORK = "network"
    TOOL_STALLED = "tool_stalled"
    ENGINE_CRASHED = "engine_crashed"
    ENGINE_HUNG = "engine_hung"
    FAILED = "failed"


class ModelView(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    active: str = ""
    queued: str | None = None
    last_switched: datetime | None = None


class LastTurn(BaseModel):
    """The turn before. `messages` are message ids, in the order taken up."""

    model_config = ConfigDict(frozen=True)

    turn_id: str
    started: datetime
    ended: datetime
    outcome: TurnOutcome
    messages: tuple[str, ...] = ()


class AgentState(BaseModel):
    """The harness's own account of itself: `GET /api/state`, and the `state` field of `hive:{<a>}:state` as JSON.

    `until` is when a nap or a wait ends by itself; `context_share` of 1 means that the model's window is full.
    Written by the container: on the host's side every text in it is untrusted.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    agent: str
    state: TurnState = TurnState.STARTING
    since: datetime
    detail: str = Field(default="", max_length=500)
    until: datetime | None = None
    engine: str = Field(default="", max_length=40)
    model: ModelView = Field(default_factory=ModelView)
    effort: str = Field(default="", max_length=40)
    unread: int = 0
    context_tokens: int = 0
    context_share: float = 0.0
    cost_usd: float = 0.0
    cost_day_usd: float = 0.0
    cost_turn_usd: float = 0.0
    session_id: str | None = Field(default=None, max_length=100)
    turn_id: str | None = Field(default=None, max_length=100)
    login_url: str = Field(default="", max_length=2100)
    last_turn: LastTurn | None = None
    harness_version: str = Field(default="", max_length=40)
    broken_servers: dict[str, str] = Field(default_factory=dict, max_length=50)


class SpawnAgent(Payload):
    """To the supervisor: make an agent and start it. `engine` absent: the hive's own choice."""

    TYPE: ClassVar[str] = "agent.spawn"

    name: AgentName
    description: str = Field(default="", max_length=500)
    engine: Engine | None = None
    config: AgentConfig = Field(default_factory=AgentConfig)


class StartAgent(Payload):
    TYPE: ClassVar[str] = "agent.start"

    name: AgentName


class StopAgent(Payload):
    TYPE: ClassVar[str] = "agent.stop"

    name: AgentName


class RestartAgent(Payload):
    TYPE: ClassVar[str] = "agent.restart"

    name: AgentName


class RebuildAgent(Payload):
    """To the supervisor: bring its container up to date, by a restart if it is behind; nothing to do if it is not."""

    TYPE: ClassVar[str] = "agent.rebuild"

    name: AgentName


class DestroyAgent(Payload):
    """To the supervisor: stop it for good and keep its state, or with `purge` wipe all that it had."""

    TYPE: ClassVar[str] = "agent.destroy"

    name: AgentName
    purge: bool = False


class CommandDone(Payload):
    """The command with this `correlation_id` was carried out. `result` is what it was to find out, if anything."""

    TYPE: ClassVar[str] = "command.done"

    command: str
    subject: str = ""
    result: dict[str, Any] = Field(default_factory=dict)


class CommandFailed(Payload):
    """The command with this `correlation_id` was refused or failed; nothing was changed. `code` is an error code, and
    `status` what it means in HTTP."""

    TYPE: ClassVar[str] = "command.failed"

    command: str
    subject: str = ""
    code: str
    reason: str
    status: int = 500


class AgentCreated(Payload):
    TYPE: ClassVar[str] = "agent.created"

    record: AgentRecord


class AgentPurged(Payload):
    """The agent is gone from the registry; its streams, credentials and last files are wiped next."""

    TYPE: ClassVar[str] = "agent.purged"

    agent: str


class ContainerStarted(Payload):
    TYPE: ClassVar[str] = "container.started"

    agent: str


class ContainerStopped(Payload):
    """An end that was asked for."""

    TYPE: ClassVar[str] = "container.stopped"

    agent: str


class ContainerCrashed(Payload):
    """An end that nobody asked for. `exit_status` is None when a signal ended it, or when it is not known.

    `oom`: it was ended for taking too much memory.
    """

    TYPE: ClassVar[str] = "container.crashed"

    agent: str
    exit_status: int | None = None
    signal: int | None = None
    oom: bool = False
    uptime_seconds: float = 0.0
    log_tail: tuple[str, ...] = ()


class OperationProgressed(Payload):
    """How far what is being done to a container is, in words."""

    TYPE: ClassVar[str] = "operation.progressed"

    agent: str
    verb: str
    step: str


class AgentQuarantined(Payload):
    """Its container crashed, or failed to come up, too often: it stays down until it is started."""

    TYPE: ClassVar[str] = "agent.quarantined"

    agent: str
    reason: str


class AgentNeedsUpdate(Payload):
    """Its container runs with what is no longer the newest; `reason` says what. `hive rebuild` brings it up to date."""

    TYPE: ClassVar[str] = "agent.needs_update"

    agent: str
    reason: str


class AgentFlooding(Payload):
    """An agent wrote more than its quota: it is cut off from Redis for the pause, and until its streams are drained."""

    TYPE: ClassVar[str] = "agent.flooding"

    agent: str
    reason: str
    pause_seconds: float


class AgentNeedsLogin(Payload):
    """A harness says that its engine has no login; told once an hour at most. `detail` is the container's word."""

    TYPE: ClassVar[str] = "agent.needs_login"

    agent: str
    detail: str = ""


class AgentFloodEnded(Payload):
    """The agent may write again."""

    TYPE: ClassVar[str] = "agent.flood_ended"

    agent: str


class AgentStateChanged(Payload):
    """In `hive:{<a>}:live`: the harness's new account of itself."""

    TYPE: ClassVar[str] = "state.changed"

    state: AgentState


class AgentLoggedIn(Payload):
    """The operator signed its engine in."""

    TYPE: ClassVar[str] = "agent.logged_in"

    agent: str


class ServiceBeat(BaseModel):
    """A field of `hive:services`: the service is alive. Older than three intervals means it is not.

    `warning` is empty, or what the operator must know of it now.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str
    pid: int
    version: str
    started_at: datetime
    at: datetime
    warning: str = ""


class HiveInfo(BaseModel):
    """How this hive runs: the `info` field of `hive:info`. `warning` is empty, or what the operator must know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    runtime: str
    runtime_reason: str = ""
    isolation: str
    warning: str = ""
    engine: Engine
    engine_reason: str = ""
    version: str
