"""What waits for the operator, as one queue: whatever stands still until somebody decides, signs in or starts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from hive_contracts.agents import ContainerStatus, Desired, TurnState
from hive_contracts.approvals import ApprovalView
from hive_contracts.messages import MessageView
from hive_contracts.questions import QuestionView
from hive_dashboard.registry import AgentView

if TYPE_CHECKING:
    from hive_dashboard.snapshot import Snapshot


class NeedKind(StrEnum):
    """In the order in which they stand in the queue: first what an agent waits for right now."""

    PERMISSION = "permission"
    QUESTION = "question"
    APPROVAL = "approval"
    LOGIN = "login"
    CRASH = "crash"
    LIMITS = "limits"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Need:
    """One item. `key` names it in the page; what belongs to its kind is set.

    `agents`: those that wait for a limit; `letters`: the newest of `count` dead letters.
    `wider`: how many rights its approval would widen.
    """

    kind: NeedKind
    key: str
    since: datetime
    question: QuestionView | None = None
    approval: ApprovalView | None = None
    wider: int = 0
    agent: AgentView | None = None
    agents: tuple[AgentView, ...] = ()
    letters: tuple[MessageView, ...] = ()
    count: int = 0

    @property
    def face(self) -> tuple[object, ...]:
        """What of it the page shows: another face is drawn anew."""
        shown = tuple(_face(agent) for agent in (*self.agents, *([self.agent] if self.agent else [])))
        return self.kind, self.question, self.approval, shown, tuple(one.id for one in self.letters), self.count

    @property
    def title(self) -> str:
        """In a line, for a notification."""
        match self.kind:
            case NeedKind.DEAD:
                return f"{self.count} dead letter{'' if self.count == 1 else 's'}"
            case NeedKind.LIMITS:
                return f"{', '.join(agent.name for agent in self.agents)}: waiting for a limit"
            case NeedKind.QUESTION | NeedKind.PERMISSION:
                return f"{self.question.asker if self.question else ''} asks"
            case NeedKind.APPROVAL:
                return f"{self.approval.requester if self.approval else ''} asks for an approval"
            case NeedKind.LOGIN:
                return f"{self.agent.name if self.agent else ''} needs a sign-in"
            case NeedKind.CRASH:
                return f"{self.agent.name if self.agent else ''} does not run"


def needs_of(now: "Snapshot") -> tuple[Need, ...]:
    """The queue of one moment."""
    return tuple(sorted(_needs(now), key=lambda need: (list(NeedKind).index(need.kind), need.since)))


def need_of(question: QuestionView) -> Need:
    kind = NeedKind.PERMISSION if question.permission else NeedKind.QUESTION
    return Need(kind, question.id, question.asked_at, question=question)


def _needs(now: "Snapshot") -> Iterator[Need]:
    yield from map(need_of, now.questions)
    for approval in now.pending:
        wider = now.wider.get(approval.id, 0)
        yield Need(NeedKind.APPROVAL, approval.id, approval.requested_at, approval=approval, wider=wider)
    for agent in now.agents:
        if needs_login(agent):
            since = agent.state.since if agent.state else agent.container_since
            yield Need(NeedKind.LOGIN, f"login-{agent.name}", since, agent=agent)
        elif is_down(agent):
            yield Need(NeedKind.CRASH, f"crash-{agent.name}", agent.container_since, agent=agent)
    if limited := tuple(agent for agent in now.agents if is_limited(agent)):
        first = min(agent.state.since for agent in limited if agent.state)
        yield Need(NeedKind.LIMITS, "limits", first, agents=limited)
    if now.dead_letters:
        newest = now.dead_letters[0].sent_at
        yield Need(NeedKind.DEAD, "dead-letters", newest, letters=now.dead_letters, count=now.dead)


def is_down(agent: AgentView) -> bool:
    """It ended unasked, or too often."""
    down = agent.container in (ContainerStatus.CRASHED, ContainerStatus.QUARANTINED)
    return down and agent.desired is Desired.RUNNING


def needs_login(agent: AgentView) -> bool:
    return agent.running and agent.state is not None and agent.state.state is TurnState.NEEDS_LOGIN


def is_limited(agent: AgentView) -> bool:
    return agent.running and agent.state is not None and agent.state.state is TurnState.RATE_LIMITED


def _face(agent: AgentView) -> tuple[object, ...]:
    state = agent.state
    said = (state.state, state.detail, state.until, state.login_url) if state else ()
    return agent.name, agent.container, agent.desired, agent.detail, agent.restarts, said
