"""What waits for the operator, as one queue: whatever stands still until somebody decides, signs in or starts it, and
what happened that somebody must have seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from hive_contracts.agents import ContainerStatus, Desired, TurnState
from hive_contracts.approvals import ApprovalView
from hive_contracts.messages import MessageView
from hive_contracts.questions import QuestionView
from hive_dashboard.registry import AgentView
from hive_dashboard.store_alerts import Alert, AlertKind

if TYPE_CHECKING:
    from hive_dashboard.snapshot import Snapshot


REFUSALS: Final = 10
"""So often an agent's sends are refused for their number before the operator is told; less is how limits work."""


class NeedKind(StrEnum):
    """In the order in which they stand in the queue: first what an agent waits for right now."""

    PERMISSION = "permission"
    QUESTION = "question"
    APPROVAL = "approval"
    LOGIN = "login"
    CRASH = "crash"
    FLOOD = "flood"
    LOOP = "loop"
    REFUSED = "refused"
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
    alert: Alert | None = None

    @property
    def face(self) -> tuple[object, ...]:
        """What of it the page shows: another face is drawn anew."""
        shown = tuple(_face(agent) for agent in (*self.agents, *([self.agent] if self.agent else [])))
        letters = tuple(one.id for one in self.letters)
        return self.kind, self.question, self.approval, shown, letters, self.count, self.alert

    @property
    def setting(self) -> str:
        """Where on `/settings` the limit stands that it ran into."""
        return f"setting-{_LIMITS[self.alert.kind]}" if self.alert else ""

    @property
    def title(self) -> str:
        """In a line, for a notification."""
        if self.kind is NeedKind.DEAD:
            return f"{self.count} dead letter{'' if self.count == 1 else 's'}"
        if self.kind is NeedKind.LIMITS:
            return f"{', '.join(agent.name for agent in self.agents)}: waiting for a limit"
        return f"{self._whose} {_TITLES[self.kind]}"

    @property
    def _whose(self) -> str:
        if self.question:
            return self.question.asker
        if self.approval:
            return self.approval.requester
        return self.agent.name if self.agent else ""


_TITLES: Final = {
    NeedKind.PERMISSION: "asks",
    NeedKind.QUESTION: "asks",
    NeedKind.APPROVAL: "asks for an approval",
    NeedKind.LOGIN: "needs a sign-in",
    NeedKind.CRASH: "does not run",
    NeedKind.FLOOD: "floods the hive",
    NeedKind.LOOP: "goes in circles",
    NeedKind.REFUSED: "sends more than it may",
}
_LIMITS: Final = {
    AlertKind.FLOOD: "supervisor-quota_mb",
    AlertKind.LOOP: "broker-max_hops",
    AlertKind.REFUSED: "broker-sender_per_minute",
}


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
    for alert in now.alerts:
        if is_shown(alert, now):
            whose = now.agent(alert.agent)
            yield Need(NeedKind(alert.kind.value), alert.key, alert.since, agent=whose, alert=alert)
    if limited := tuple(agent for agent in now.agents if is_limited(agent)):
        first = min(agent.state.since for agent in limited if agent.state)
        yield Need(NeedKind.LIMITS, "limits", first, agents=limited)
    if now.dead_letters:
        newest = now.dead_letters[0].sent_at
        yield Need(NeedKind.DEAD, "dead-letters", newest, letters=now.dead_letters, count=now.dead)


def is_shown(alert: Alert, now: "Snapshot") -> bool:
    """Not of an agent that is gone, nor of one before it under its name."""
    agent = now.agent(alert.agent)
    if agent is None or not agent.desired.is_there or alert.last < agent.created_at:
        return False
    return alert.kind is not AlertKind.REFUSED or alert.count >= REFUSALS


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
