"""`agent.toml`: an agent's configuration as its repository holds it, the same for every back-end.

The file is flat where a person writes it; `AgentFile.config` is what the services pass on. Written by an agent:
every value is bounded and checked, unknown keys are refused, and a complaint names the line.
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hive_contracts.errors import InvalidRequest
from hive_contracts.models import (
    AgentConfig,
    AgentLimits,
    Effort,
    McpServers,
    ModelName,
    Network,
    PackageName,
    RestartPolicy,
    VariableName,
)
from hive_contracts.names import AgentName
from hive_contracts.permissions import BUILT_IN, BashPattern, PermissionPolicy, ToolName, ToolPolicy
from hive_contracts.toml_place import line_of

FILE_NAME: Final = "agent.toml"
MAX_FILE_BYTES: Final = 64 * 1024
SECRET_LIKE: Final = re.compile(r"(?i)(secret|token|passw|api_?key|credential)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `line` counts from 1; `key` is dotted, empty for the file as a whole."""

    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{FILE_NAME}:{self.line}: {self.key + ': ' if self.key else ''}{self.reason}"


class InvalidAgentFile(InvalidRequest):
    """All that is wrong with a file, in the order of its lines; in words alone where another service found it."""

    code = "invalid_agent_file"

    def __init__(self, problems: tuple[Problem, ...] | str) -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else problems
        super().__init__(problems if isinstance(problems, str) else "; ".join(map(str, problems)))


def _value(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a value is one line of text")
    return text


VariableValue = Annotated[str, Field(max_length=4096), AfterValidator(_value)]


class AgentFile(BaseModel):
    """The file's keys. All are optional; what is left out is as the hive has it.

    `environment` is for values that anybody may read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    description: str = Field(default="", max_length=500, description="one line for the operator: what it is for")
    model: ModelName | None = Field(default=None, description="its model, unless the operator overrides it")
    effort: Effort | None = Field(default=None, description="how much the model is to think")
    tools: tuple[ToolName, ...] = Field(default=BUILT_IN, max_length=40, description="the built-in tools it has")
    bash_patterns: tuple[BashPattern, ...] | None = Field(
        default=None, max_length=200, description="shell commands that need no asking; left out: any"
    )
    permission_policy: PermissionPolicy = Field(
        default=PermissionPolicy.ASK, description="what happens with what is not allowed"
    )
    recipients: tuple[AgentName, ...] | None = Field(
        default=None, max_length=500, description="whom it may write to besides operator and manager; left out: all"
    )
    network: Network | None = Field(default=None, description="what of the network its container has")
    restart: RestartPolicy = Field(
        default=RestartPolicy.MANAGER, description="what follows a crash, and who may start it after too many"
    )
    environment: dict[VariableName, VariableValue] = Field(
        default_factory=dict, max_length=100, description="variables of its engine"
    )
    secrets: tuple[VariableName, ...] = Field(
        default=(), max_length=50, description="variables of its engine whose values you set with `hive secret`"
    )
    packages: tuple[PackageName, ...] = Field(
        default=(), max_length=100, description="packages or programs that its container must have"
    )
    limits: AgentLimits = Field(default_factory=AgentLimits, description="what it may use at most")
    mcp_servers: McpServers = Field(default_factory=dict, description="further MCP servers")

    @model_validator(mode="after")
    def _says_each_variable_once(self) -> "AgentFile":
        if twice := sorted(self.environment.keys() & set(self.secrets)):
            raise ValueError(f"{', '.join(twice)}: either in environment or in secrets")
        return self

    @property
    def config(self) -> AgentConfig:
        """As the services pass it on."""
        policy = ToolPolicy(
            tools=self.tools, bash_patterns=self.bash_patterns, permission_policy=self.permission_policy
        )
        own = {name: getattr(self, name) for name in AgentConfig.model_fields if name in type(self).model_fields}
        return AgentConfig(policy=policy, **own)


def parse(text: str) -> AgentFile:
    """Raises `InvalidAgentFile`, which names every mistake with its line."""
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidAgentFile((Problem(_syntax_line(text, str(error)), "", f"is not TOML: {error}"),)) from error
    problems = _secrets_in(text, tables)
    try:
        found = AgentFile.model_validate(tables)
    except ValidationError as error:
        problems += [_problem(text, one) for one in error.errors(include_url=False, include_input=False)]
    if problems:
        raise InvalidAgentFile(tuple(sorted(problems, key=lambda problem: problem.line)))
    return found


def decode(content: bytes) -> AgentFile:
    """The same from a file's bytes."""
    if len(content) > MAX_FILE_BYTES:
        reason = f"is {len(content)} bytes; at most {MAX_FILE_BYTES} are taken"
        raise InvalidAgentFile((Problem(1, "", reason),))
    try:
        return parse(content.decode())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidAgentFile((Problem(line, "", "is not UTF-8 text"),)) from error


def _secrets_in(text: str, tables: dict[str, Any]) -> list[Problem]:
    """Variables whose names say that their values are for nobody's eyes: a repository keeps them for ever."""
    environment = tables.get("environment")
    if not isinstance(environment, dict):
        return []
    reason = "looks like a secret, which a repository would keep for ever: name it in `secrets` instead"
    return [
        Problem(line_of(text, ("environment", name)), f"environment.{name}", reason)
        for name, value in environment.items()
        if SECRET_LIKE.search(name) and value
    ]


def _problem(text: str, error: Any) -> Problem:
    place = tuple(part for part in error["loc"] if part != "[key]")
    reason = "no such key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    return Problem(line_of(text, place), ".".join(str(part)[:60] for part in place), reason)


def _syntax_line(text: str, message: str) -> int:
    found = re.search(r"at line (\d+)", message)
    return int(found[1]) if found else max(1, len(text.splitlines()))
