"""What an agent's engine may use: built-in tools, patterns of shell commands, and who decides about the rest.

What the policy does not allow becomes a question to the operator, with a `PermissionRequest` in it. Its answer is
`once`, `always` or anything else, which means no; it goes to the asker's control stream, where a tool call waits.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hive_contracts.envelope import Payload

BUILT_IN: Final = ("Bash", "Edit", "Glob", "Grep", "Read", "Write")
MAX_COMMAND_BYTES: Final = 16 * 1024
ANY_COMMAND: Final = "*"
SHELL: Final = "Bash"

_TOOL_NAME: Final = re.compile(r"[A-Z][A-Za-z]{0,40}\Z")
_BASH_RULE: Final = re.compile(r"Bash\((.*)\)\Z", re.DOTALL)


class PermissionPolicy(StrEnum):
    """What happens with what is not allowed. `ALLOW`: everything is; the container alone is the border."""

    ASK = "ask"
    DENY = "deny"
    ALLOW = "allow"


class Choice(StrEnum):
    """`ALWAYS` allows this once, and proposes the pattern as a change of the agent's configuration."""

    ONCE = "once"
    ALWAYS = "always"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Decision:
    """`words` is what the operator said besides."""

    choice: Choice
    words: str = ""


def decision_of(answer: str) -> Decision:
    """The first line decides; whatever is not exactly `once` or `always` means no."""
    first, _, rest = answer.strip().partition("\n")
    if first.strip() in {Choice.ONCE, Choice.ALWAYS}:
        return Decision(Choice(first.strip()), rest.strip())
    if first.strip() == Choice.NO:
        return Decision(Choice.NO, rest.strip())
    return Decision(Choice.NO, answer.strip())


def bash_pattern(text: str) -> str:
    """The pattern in `text`, given bare or as `Bash(…)`; `git:*` is another way to write `git *`.

    `*` stands for any text. Raises `ValueError` for what could never match a plain command, or begins with a `*`.
    """
    rule = _BASH_RULE.match(text.strip())
    pattern = (rule[1] if rule else text).strip()
    if pattern.endswith(":*"):
        pattern = f"{pattern[:-2]} *"
    if not pattern or not pattern.isprintable():
        raise ValueError("a pattern is one line of text, such as 'git *'")
    if pattern != ANY_COMMAND and pattern.startswith("*"):
        raise ValueError(f"{pattern!r} begins with a '*': name the command, or give '*' alone for any command")
    return pattern


def _tool(name: str) -> str:
    if not _TOOL_NAME.match(name):
        raise ValueError(
            f"{name[:60]!r} is not the name of a built-in tool; those by default are {', '.join(BUILT_IN)}"
        )
    return name


BashPattern = Annotated[str, Field(max_length=500), AfterValidator(bash_pattern)]
ToolName = Annotated[str, AfterValidator(_tool)]


class ToolPolicy(BaseModel):
    """One agent's. `tools` are all the built-ins that its engine has at all.

    `bash_patterns`: the shell commands that need no asking; None allows any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[ToolName, ...] = Field(default=BUILT_IN, max_length=40)
    bash_patterns: tuple[BashPattern, ...] | None = Field(default=None, max_length=200)
    permission_policy: PermissionPolicy = PermissionPolicy.ASK

    @property
    def restricts_bash(self) -> bool:
        """Whether some shell commands need asking."""
        if self.permission_policy is PermissionPolicy.ALLOW or SHELL not in self.tools:
            return False
        return self.bash_patterns is not None and ANY_COMMAND not in self.bash_patterns


class PermissionRequest(BaseModel):
    """What an engine wants to do. `command` is the exact shell command, or the tool's arguments as JSON.

    Written by a container: untrusted. `pattern` is what `always` would allow; empty where no pattern can.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    tool: str = Field(max_length=200)
    command: str
    pattern: str = Field(default="", max_length=500)


class PatternProposed(Payload):
    """The operator answered `always`: `pattern` is proposed for the agent's configuration. Nothing is changed yet."""

    TYPE: ClassVar[str] = "permission.pattern_proposed"

    agent: str
    tool: str
    pattern: str
    question_id: str
