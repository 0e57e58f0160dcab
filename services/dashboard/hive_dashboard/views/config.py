"""The configuration of an agent or of a draft."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hive_contracts.agent_file import Problem
from hive_contracts.drafts import DraftView
from hive_dashboard.diff import DiffFile
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class Deployed:
    """An approval that can be rolled back to. `subject` is of who wrote the commit."""

    approval: str
    commit: str
    at: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class Configured:
    """`main` is the commit that runs, or a draft's; `files` the paths of what lies beside its agent.toml."""

    main: str
    files: tuple[str, ...]
    deployed: tuple[Deployed, ...]


@dataclass(frozen=True, slots=True)
class ConfigForm:
    """What is written in it, and why it was not taken: `problems` of the file, or another `error`."""

    text: str
    description: str = ""
    problems: tuple[Problem, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class ConfigPage:
    """Of an agent, or of a `draft`. `file` is its agent.toml; `edited`: the form holds more than what is there."""

    TEMPLATE: ClassVar[str] = "config.html"

    shell: Shell
    name: str
    config: Configured
    file: DiffFile
    form: ConfigForm
    draft: DraftView | None = None
    edited: bool = False
