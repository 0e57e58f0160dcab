"""An agent's state in a word."""

from dataclasses import dataclass
from datetime import datetime

from hive_contracts.agents import AgentState, ContainerStatus, Desired, TurnState
from hive_dashboard.registry import AgentView


@dataclass(frozen=True, slots=True)
class Badge:
    """An agent's state in a word. `tone` picks the colour: idle, busy, calm, wait, bad or off."""

    label: str
    tone: str
    since: datetime
    detail: str = ""
    until: datetime | None = None


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
