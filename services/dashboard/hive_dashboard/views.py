"""What templates are given: one frozen dataclass a template, filled from one snapshot.

`TEMPLATE` names the file; a test holds every template to the fields of its dataclass.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from hive_contracts.agent_file import Problem
from hive_contracts.agents import AgentState, ContainerStatus, Desired, HiveInfo, TurnState
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_contracts.drafts import DraftView
from hive_contracts.messages import MessageView
from hive_contracts.questions import QuestionView
from hive_contracts.retention import RetentionSwept
from hive_dashboard.cards import Card
from hive_dashboard.charts import Chart, Steps
from hive_dashboard.diff import DiffFile
from hive_dashboard.figures import Figures
from hive_dashboard.kept import Kept
from hive_dashboard.look import Look
from hive_dashboard.needs import Need
from hive_dashboard.outlook import Base, Outlook
from hive_dashboard.reference import Section
from hive_dashboard.registry import AgentView, ServiceView
from hive_dashboard.slash_commands import COMMANDS, Command
from hive_dashboard.store import SessionView
from hive_dashboard.store_audit import Action
from hive_dashboard.store_tokens import TokenView
from hive_dashboard.threads import Thread
from hive_dashboard.turns import Row, Turn
from hive_runtime.records.events import RecordedEvent


@dataclass(frozen=True, slots=True)
class Badge:
    """An agent's state in a word. `tone` picks the colour: idle, busy, calm, wait, bad or off."""

    label: str
    tone: str
    since: datetime
    detail: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Flash:
    """What became of the last action. `tone`: good, note or bad."""

    text: str
    tone: str = "good"


@dataclass(frozen=True, slots=True)
class ComposeForm:
    """`to` is empty where the operator picks; `fixed` where the recipient is given by the place."""

    to: str = ""
    body: str = ""
    fixed: bool = False
    in_reply_to: str = ""
    nonce: str = ""
    back: str = "/"
    error: str = ""
    sent: str = ""
    recipients: tuple[str, ...] = ()
    focus: bool = False

    @property
    def id(self) -> str:
        return f"compose-{self.in_reply_to}" if self.in_reply_to else "compose"


def reply_form(message: MessageView, *, nonce: str = "", back: str = "/") -> ComposeForm:
    return ComposeForm(to=message.sender, fixed=True, in_reply_to=message.id, nonce=nonce, back=back)


@dataclass(frozen=True, slots=True)
class Shell:
    """What every page has around it. `needs`: how much waits for the operator.

    `stream` is the address of its events; empty for a page that stands still.
    """

    title: str
    csrf: str = ""
    path: str = "/"
    stream: str = ""
    look: Look = field(default_factory=Look)
    needs: int = 0
    unread: int = 0
    dead: int = 0
    pending: int = 0
    warnings: tuple[str, ...] = ()
    flashes: tuple[Flash, ...] = ()


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
class Filter:
    """Which messages are shown: those of `agent`, those of a `kind`; empty for all."""

    agent: str = ""
    kind: str = ""

    @property
    def active(self) -> bool:
        return bool(self.agent or self.kind)


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


@dataclass(frozen=True, slots=True)
class TurnStream:
    """A part of an agent's turn stream. `older`, `newer`: the event before or after which there is more; empty where
    there is none. `live`: it is the newest part, and is kept up to date."""

    agent: str
    turns: list[Turn]
    older: str = ""
    newer: str = ""
    live: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """An event in which words were found; `around` is what stands before, between and behind them."""

    id: str
    time: datetime
    kind: str
    around: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Search:
    """`hits` are newest first; `further` is the address of the next ones, empty where all was looked at."""

    words: str
    hits: tuple[Hit, ...] = ()
    further: str = ""


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
class TurnsFragment:
    """A further part of the stream for an open page."""

    TEMPLATE: ClassVar[str] = "turns.html"

    stream: TurnStream


@dataclass(frozen=True, slots=True)
class EventPage:
    """`row` is the event, drawn whole."""

    TEMPLATE: ClassVar[str] = "event.html"

    shell: Shell
    agent: AgentView
    event: RecordedEvent
    row: Row


@dataclass(frozen=True, slots=True)
class EditsFragment:
    TEMPLATE: ClassVar[str] = "edits.html"

    card: Card


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
class MessagesPage:
    """`live`: the newest, kept up to date."""

    TEMPLATE: ClassVar[str] = "messages.html"

    shell: Shell
    messages: list[MessageView]
    agents: tuple[str, ...]
    chosen: Filter
    older: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class MessagePage:
    TEMPLATE: ClassVar[str] = "message.html"

    shell: Shell
    message: MessageView
    conversation: list[MessageView]
    compose: ComposeForm | None = None


@dataclass(frozen=True, slots=True)
class QuestionsPage:
    """`waiting` are open and the operator's to answer; `history` are all, newest first."""

    TEMPLATE: ClassVar[str] = "questions.html"

    shell: Shell
    waiting: tuple[Need, ...]
    history: list[QuestionView]
    older: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Of the history; empty for all."""

    agent: str = ""
    kind: ApprovalKind | None = None
    state: ApprovalState | None = None


@dataclass(frozen=True, slots=True)
class ApprovalsPage:
    """`pending` wait for the operator, oldest first; `history` are the others, newest first.

    `wider`: how many rights each that waits would widen. `asked` is what the filter was set to, `agents` what it
    offers; `older` the address of the next page.
    """

    TEMPLATE: ClassVar[str] = "approvals.html"

    shell: Shell
    pending: tuple[ApprovalView, ...]
    history: tuple[ApprovalView, ...]
    wider: dict[str, int] = field(default_factory=dict)
    asked: ApprovalFilter = ApprovalFilter()
    agents: tuple[str, ...] = ()
    older: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """`base` is what the files are drawn against, of `bases`. `only`: the one file that is drawn, else all are.

    `cut`: the diff is longer than what is kept of one.
    """

    TEMPLATE: ClassVar[str] = "approval.html"

    shell: Shell
    approval: ApprovalView
    outlook: Outlook
    files: tuple[DiffFile, ...]
    bases: tuple[Base, ...] = ()
    base: BaseKind = BaseKind.RUNNING
    only: str = ""
    cut: bool = False
    note: str = ""


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


@dataclass(frozen=True, slots=True)
class DeadLettersPage:
    """`letters`: each with the reason why it was given up."""

    TEMPLATE: ClassVar[str] = "dead_letters.html"

    shell: Shell
    letters: tuple[tuple[MessageView, str], ...]


@dataclass(frozen=True, slots=True)
class TerminalPage:
    """`nonce` lets the style elements of this page's terminal in."""

    TEMPLATE: ClassVar[str] = "terminal.html"

    shell: Shell
    agent: AgentView
    is_on: bool
    nonce: str


@dataclass(frozen=True, slots=True)
class AccessPage:
    """`own` is the id of the session that looks."""

    TEMPLATE: ClassVar[str] = "access.html"

    shell: Shell
    tokens: list[TokenView]
    sessions: list[SessionView]
    own: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`who` and `target` narrow it, where they are not empty; `older` is the address of what came before."""

    TEMPLATE: ClassVar[str] = "audit.html"

    shell: Shell
    actions: list[Action]
    who: str = ""
    target: str = ""
    older: str = ""


@dataclass(frozen=True, slots=True)
class SettingsPage:
    TEMPLATE: ClassVar[str] = "settings.html"

    shell: Shell
    info: HiveInfo | None
    services: tuple[ServiceView, ...]
    sections: tuple[Section, ...]
    debug: bool


@dataclass(frozen=True, slots=True)
class ComponentsPage:
    TEMPLATE: ClassVar[str] = "components.html"

    shell: Shell


@dataclass(frozen=True, slots=True)
class Place:
    """A link of the palette; `about` says what is there."""

    name: str
    href: str
    about: str


@dataclass(frozen=True, slots=True)
class PalettePage:
    TEMPLATE: ClassVar[str] = "palette.html"

    shell: Shell
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class RetentionPage:
    """`last`: what was swept; `planned`: what a sweep would remove, where that was asked for."""

    TEMPLATE: ClassVar[str] = "retention.html"

    shell: Shell
    last: RetentionSwept | None
    planned: RetentionSwept | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class SignInPage:
    TEMPLATE: ClassVar[str] = "sign_in.html"

    shell: Shell
    error: str = ""
    next: str = "/"


@dataclass(frozen=True, slots=True)
class ErrorPage:
    TEMPLATE: ClassVar[str] = "error.html"

    shell: Shell
    status: int
    heading: str
    detail: str


@dataclass(frozen=True, slots=True)
class FlashFragment:
    TEMPLATE: ClassVar[str] = "flash.html"

    flashes: tuple[Flash, ...] = field(default=())


_TONES = {
    TurnState.STARTING: "wait",
    TurnState.NEEDS_LOGIN: "bad",
    TurnState.IDLE: "idle",
    TurnState.THINKING: "busy",
    TurnState.COMPACTING: "busy",
    TurnState.NAPPING: "calm",
    TurnState.RATE_LIMITED: "bad",
    TurnState.PAUSED: "calm",
}


_CONTAINER_TONES = {
    ContainerStatus.STARTING: "wait",
    ContainerStatus.CRASHED: "bad",
    ContainerStatus.QUARANTINED: "bad",
    ContainerStatus.STOPPED: "off",
}


def badge_of(agent: AgentView) -> Badge:
    """The container's state where it does not run, else the harness's own word."""
    if agent.container is ContainerStatus.RUNNING and agent.desired is Desired.STOPPED:
        return Badge("stopping", "wait", agent.container_since, agent.detail)
    if agent.desired is Desired.PURGED:
        return Badge("being purged", "wait", agent.container_since, agent.detail)
    if agent.container is ContainerStatus.STOPPED and agent.desired is Desired.DESTROYED:
        return Badge("destroyed", "off", agent.container_since, agent.detail)
    if agent.container is ContainerStatus.RUNNING:
        return _badge_of_state(agent.state, agent)
    return Badge(agent.container.value, _CONTAINER_TONES[agent.container], agent.container_since, agent.detail)


def _badge_of_state(state: AgentState | None, agent: AgentView) -> Badge:
    if state is None:
        return Badge("starting", "wait", agent.container_since)
    return Badge(state.state.value.replace("_", " "), _TONES[state.state], state.since, state.detail, state.until)
