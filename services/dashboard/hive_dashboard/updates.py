"""From one snapshot to the next: the fragments that open pages need, published to the hub."""

from collections.abc import Iterable, Sequence
from typing import Final

from hive_contracts.approvals import ApprovalView
from hive_contracts.messages import MessageState, MessageView
from hive_contracts.questions import QuestionView
from hive_dashboard.control import steering_of
from hive_dashboard.hub import Hub
from hive_dashboard.live import agent_topic
from hive_dashboard.registry import AgentView
from hive_dashboard.render import Renderer
from hive_dashboard.snapshot import INBOX_LENGTH, Snapshot

HOME: Final = "home"


class Updates:
    """The watcher of `Snapshots`. Swaps are small, so that what the operator types or reads stays where it is."""

    def __init__(self, hub: Hub, renderer: Renderer) -> None:
        self._hub = hub
        self._render = renderer
        self._watched: tuple[str, ...] = ()

    def watched(self) -> Sequence[str]:
        """The agents whose pages are open."""
        return self._watched

    def watch(self, names: Iterable[str]) -> None:
        self._watched = tuple(name for name in names if self._hub.follows(agent_topic(name)))

    def changed(self, before: Snapshot, after: Snapshot) -> None:
        self.watch(agent.name for agent in after.agents)
        if before.warnings != after.warnings:
            self._hub.publish_everywhere("banners", self._render.banners(after.warnings))
        if before.operator_unread != after.operator_unread:
            self._hub.publish_everywhere("unread", str(after.operator_unread))
        if before.dead != after.dead:
            self._hub.publish_everywhere("dead", str(after.dead))
        if before.approvals != after.approvals:
            self._hub.publish_everywhere("pending", str(len(after.pending)))
            self._hub.publish(HOME, "approvals", lambda: self._render.approvals(after.pending))
            self._approvals(before.approvals, after.approvals)
        if before.drafts != after.drafts:
            self._hub.publish(HOME, "drafts", lambda: self._render.drafts(after.drafts))
        self._agents(before, after)
        self._flow(before.flow, after.flow)
        self._inbox(before.inbox, after.inbox)
        self._questions(before.questions, after)
        for name, messages in after.inboxes.items():
            if before.inboxes.get(name) != messages:
                self._hub.publish(agent_topic(name), "mail", self._render.mail(messages))

    def _agents(self, before: Snapshot, after: Snapshot) -> None:
        names = tuple(agent.name for agent in after.agents)
        if names != tuple(agent.name for agent in before.agents):
            self._hub.publish(HOME, "agents", lambda: self._render.cards(after.agents))
            self._hub.publish(HOME, "recipients", lambda: self._render.options(names))
        for agent in after.agents:
            former = before.agent(agent.name)
            if former is not None and former != agent:
                self._agent(former, agent)

    def _agent(self, former: AgentView, agent: AgentView) -> None:
        topic = agent_topic(agent.name)
        self._hub.publish(HOME, f"agent-{agent.name}", lambda: self._render.card(agent))
        self._hub.publish(topic, "head", lambda: self._render.head(agent))
        if controls_of(former) != controls_of(agent):
            self._hub.publish(topic, "controls", lambda: self._render.controls(agent))
        if steering_of(former) != steering_of(agent):
            self._hub.publish(topic, "steering", lambda: self._render.steering(agent))
        if agent.state and (former.state is None or former.state.last_turn != agent.state.last_turn):
            self._hub.publish(topic, "last-turn", lambda: self._render.last_turn(agent))

    def _flow(self, before: tuple[MessageView, ...], after: tuple[MessageView, ...]) -> None:
        known = {message.id: message.state for message in before}
        news = [message for message in after if message.id not in known]
        if news and before and len(news) == len(after):
            self._hub.publish(HOME, "reset", "more happened than is kept")
        elif news:
            self._hub.publish(HOME, "flow", lambda: self._render.flow(news))
        for message in after:
            if known.get(message.id, message.state) is not message.state:
                self._publish_state(message)

    def _publish_state(self, message: MessageView) -> None:
        self._hub.publish(HOME, message.id, lambda: self._render.state(message))

    def _inbox(self, before: tuple[MessageView, ...], after: tuple[MessageView, ...]) -> None:
        known = {message.id: message.state for message in before}
        oldest = before[-1].sent_at if len(before) >= INBOX_LENGTH else None
        for message in reversed(after):
            if message.id not in known:
                if oldest is None or message.sent_at > oldest:  # else one from further back moved up
                    self._publish_letter(message)
            elif message.state is MessageState.ACKED and known[message.id] is not MessageState.ACKED:
                self._publish_read(message)

    def _publish_letter(self, message: MessageView) -> None:
        self._hub.publish(HOME, "letter", lambda: self._render.letter(message))

    def _publish_read(self, message: MessageView) -> None:
        self._hub.publish(HOME, f"read-{message.id}", lambda: self._render.letter_status(message))

    def _approvals(self, before: tuple[ApprovalView, ...], after: tuple[ApprovalView, ...]) -> None:
        """An open page of one that changed shows what became of it in the place of its form."""
        known = {approval.id: approval.state for approval in before}
        for approval in after:
            if known.get(approval.id, approval.state) is not approval.state:
                self._publish_outcome(approval)

    def _publish_outcome(self, approval: ApprovalView) -> None:
        self._hub.publish(HOME, f"approval-{approval.id}", lambda: self._render.outcome(approval))

    def _questions(self, before: tuple[QuestionView, ...], after: Snapshot) -> None:
        """A new one joins the end of the list; in the place of one that is closed stands what became of it."""
        known = {view.id for view in before}
        for view in after.questions:
            if view.id not in known:
                self._publish_question(view)
        for view in after.closed:
            self._publish_closed(view)

    def _publish_question(self, question: QuestionView) -> None:
        self._hub.publish(HOME, "question", lambda: self._render.question(question))

    def _publish_closed(self, question: QuestionView) -> None:
        self._hub.publish(HOME, f"closed-{question.id}", lambda: self._render.closed_question(question))


def controls_of(agent: AgentView) -> tuple[object, ...]:
    """What the buttons of its container follow from."""
    return agent.desired, agent.container, bool(agent.needs_update)
