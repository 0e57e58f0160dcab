"""An agent's page, its figures and its terminal."""

from dataclasses import dataclass
from typing import ClassVar

from hive_contracts.messages import MessageView
from hive_dashboard.charts import Steps
from hive_dashboard.figures import Figures
from hive_dashboard.kept import Kept
from hive_dashboard.registry import AgentView
from hive_dashboard.slash_commands import COMMANDS, Command
from hive_dashboard.views.compose import ComposeForm
from hive_dashboard.views.shell import Shell
from hive_dashboard.views.turns import Search, TurnStream


@dataclass(frozen=True, slots=True)
class AgentPage:
    """`search` is there when words were looked for, in place of the stream."""

    TEMPLATE: ClassVar[str] = "agent.html"

    shell: Shell
    agent: AgentView
    stream: TurnStream
    inbox: tuple[MessageView, ...]
    compose: ComposeForm
    search: Search | None = None
    kept: Kept | None = None
    commands: tuple[Command, ...] = COMMANDS


@dataclass(frozen=True, slots=True)
class StatsPage:
    """`shown` is the one of `ranges` that the figures are of."""

    TEMPLATE: ClassVar[str] = "stats.html"

    shell: Shell
    agent: AgentView
    figures: Figures
    shown: str
    ranges: tuple[str, ...]
    steps: Steps


@dataclass(frozen=True, slots=True)
class TerminalPage:
    """`nonce` lets the style elements of this page's terminal in."""

    TEMPLATE: ClassVar[str] = "terminal.html"

    shell: Shell
    agent: AgentView
    is_on: bool
    nonce: str
