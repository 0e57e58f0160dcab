"""The hive: its figures, and its page."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from hive_contracts.agents import TurnState
from hive_contracts.drafts import DraftView
from hive_contracts.messages import MessageView
from hive_dashboard.charts import Chart
from hive_dashboard.kept import Kept
from hive_dashboard.needs import Need
from hive_dashboard.registry import AgentView
from hive_dashboard.threads import Thread
from hive_dashboard.views.compose import ComposeForm
from hive_dashboard.views.messages import Filter
from hive_dashboard.views.shell import Shell


@dataclass(frozen=True, slots=True)
class Totals:
    """The hive in figures. `turns`: of the last 24 hours; `cost_day`: in dollars, by the containers' own accounts."""

    agents: int
    running: int
    thinking: int
    turns: int
    cost_day: float
    waiting: int


def totals_of(agents: Iterable[AgentView]) -> Totals:
    found = tuple(agents)
    states = [agent.state for agent in found if agent.state]
    return Totals(
        agents=len(found),
        running=sum(agent.running for agent in found),
        thinking=sum(is_busy(agent) for agent in found),
        turns=sum(sum(agent.turns) for agent in found),
        cost_day=sum(state.cost_day_usd for state in states),
        waiting=sum(agent.unread for agent in found),
    )


def is_busy(agent: AgentView) -> bool:
    return agent.running and agent.state is not None and agent.state.state is TurnState.THINKING


@dataclass(frozen=True, slots=True)
class SpawnForm:
    """`like`: the agent whose configuration the new one gets; empty for the default."""

    name: str = ""
    like: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class HomePage:
    TEMPLATE: ClassVar[str] = "home.html"

    shell: Shell
    agents: tuple[AgentView, ...]
    needs: tuple[Need, ...]
    totals: Totals
    flow: tuple[MessageView, ...]
    threads: tuple[tuple[Thread, ComposeForm], ...]
    compose: ComposeForm
    chosen: Filter = field(default_factory=Filter)
    drafts: tuple[DraftView, ...] = ()
    spawn: SpawnForm = SpawnForm()
    kept: tuple[Kept, ...] = ()
    queue: Chart | None = None
