"""An agent's own configuration: its model, the MCP servers it has besides the hive's, whom it may write to.

The model is the operator's override, else the agent's own, else the hive's. The supervisor decides, and tells the
harness by its environment at the start and on its control stream from then on.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hive_contracts.envelope import Payload
from hive_contracts.errors import InvalidName
from hive_contracts.names import AgentName
from hive_contracts.permissions import ToolPolicy

DEFAULT_MODEL: Final = "haiku"
OWN_SERVER: Final = "hyperhive"

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,99}\Z")
_SERVER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}\Z")
_OWN_VARIABLES: Final = ("HIVE_", "ANTHROPIC_", "CLAUDE_", "LD_", "NODE_OPTIONS", "BUN_")
"""The hive's, the model's, and those by which a program is made to run another's code."""


def check_model(name: str) -> str:
    """Return `name`; raises `ValueError`."""
    if not _MODEL.match(name):
        raise ValueError(f"{name[:60]!r} is not a model's name; names are like 'haiku' or 'claude-sonnet-4-5'")
    return name


def wanted_model(text: str) -> str | None:
    """The model that the operator named; None for nothing. Raises `InvalidName`."""
    try:
        return check_model(text.strip()) if text.strip() else None
    except ValueError as error:
        raise InvalidName(str(error)) from error


def _check_server(name: str) -> str:
    if name.lower() == OWN_SERVER:
        raise ValueError(f"an MCP server cannot be called {name!r}: that one is the hive's own")
    if not _SERVER.match(name) or "__" in name:
        raise ValueError(f"{name[:60]!r} is not a server's name: letters, digits, '-' and '_', at most 40")
    return name


def _check_variable(name: str) -> str:
    if not _VARIABLE.match(name) or name.upper().startswith(_OWN_VARIABLES):
        raise ValueError(f"the variable {name[:60]!r} is one of the hive's own, or no variable's name")
    return name


ModelName = Annotated[str, AfterValidator(check_model)]
ServerName = Annotated[str, AfterValidator(_check_server)]
VariableName = Annotated[str, AfterValidator(_check_variable)]


def _check_package(name: str) -> str:
    if not _PACKAGE.match(name):
        raise ValueError(f"{name[:60]!r} is not the name of a package or a program")
    return name


PackageName = Annotated[str, AfterValidator(_check_package)]


class ModelSource(StrEnum):
    """Where an agent's model comes from."""

    OVERRIDE = "override"
    CONFIG = "config"
    DEFAULT = "default"


class Effort(StrEnum):
    """How much a model is to think, in Claude Code's words."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class McpServer(BaseModel):
    """A further MCP server: a program inside the container, or an address. `env` names variables, not their values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str | None = Field(default=None, min_length=1, max_length=500)
    args: tuple[str, ...] = Field(default=(), max_length=50)
    env: tuple[VariableName, ...] = Field(default=(), max_length=50)
    url: str | None = Field(default=None, pattern=r"^https?://\S+$", max_length=1000)

    @model_validator(mode="after")
    def _is_one_kind(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has either a command or a url")
        if self.url and (self.args or self.env):
            raise ValueError("an MCP server with a url takes no args and no env")
        return self


McpServers = Annotated[dict[ServerName, McpServer], Field(max_length=20)]


class Network(StrEnum):
    """What of the network a container has: nothing but the hive's own socket, or all that the host has."""

    NONE = "none"
    HOST = "host"


class RestartPolicy(StrEnum):
    """What follows a crash. A container that crashes too often stays down in either case, until it is started:
    `MANAGER` by the manager or the operator, `ALWAYS` by the operator alone. `NEVER`: it stays down at once."""

    MANAGER = "manager"
    ALWAYS = "always"
    NEVER = "never"


class AgentLimits(BaseModel):
    """What an agent may use at most; None for what the hive gives every agent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mib: int | None = Field(default=None, ge=128, le=1_048_576, description="memory, in MiB")
    cpus: float | None = Field(default=None, ge=0.05, le=1024, description="processor cores")
    pids: int | None = Field(default=None, ge=32, le=1_000_000, description="processes and threads")
    open_files: int | None = Field(default=None, ge=64, le=1_048_576, description="open files of each process")
    turn_seconds: float | None = Field(default=None, gt=0, le=86_400, description="how long a turn may take")
    turn_tool_calls: int | None = Field(default=None, gt=0, le=100_000, description="tool calls of a turn")
    turn_tokens: int | None = Field(default=None, ge=0, description="tokens of a turn; 0: no limit")


class AgentConfig(BaseModel):
    """What an agent's configuration says. It holds from the container's next start on.

    `effort`: None for the model's own. `recipients`: whom it may write to beside the operator and the manager; None for
    everybody. They hold at once. `network`: None for the hive's own. `secrets` are variables whose values the operator
    set on the host; `packages` must be in the container.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName | None = None
    effort: Effort | None = None
    policy: ToolPolicy = Field(default_factory=ToolPolicy)
    recipients: tuple[AgentName, ...] | None = None
    mcp_servers: McpServers = Field(default_factory=dict)
    network: Network | None = None
    restart: RestartPolicy = RestartPolicy.MANAGER
    limits: AgentLimits = Field(default_factory=AgentLimits)
    environment: dict[VariableName, str] = Field(default_factory=dict)
    secrets: tuple[VariableName, ...] = Field(default=(), max_length=50)
    packages: tuple[PackageName, ...] = Field(default=(), max_length=100)


class AgentModel(BaseModel):
    """The model that an agent is to use, and since when the override stands, if one does."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    name: str = DEFAULT_MODEL
    source: ModelSource = ModelSource.DEFAULT
    override_since: datetime | None = None


class SetModel(Payload):
    """To the supervisor: the operator's override of the model; None takes it away."""

    TYPE: ClassVar[str] = "agent.set_model"

    name: AgentName
    model: ModelName | None = None


class ModelChanged(Payload):
    """To a harness: the model from the next turn on. It may come again."""

    TYPE: ClassVar[str] = "model.changed"

    model: ModelName
