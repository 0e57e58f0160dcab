"""From one snapshot to the next: the fragments that open pages need, published to the hub."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from hive_contracts.approvals import ApprovalView
from hive_contracts.messages import MessageView
from hive_dashboard.control import steering_of
from hive_dashboard.hub import Hub
from hive_dashboard.live import agent_topic
from hive_dashboard.needs import Need
from hive_dashboard.registry import AgentView
from hive_dashboard.render import Renderer
from hive_dashboard.snapshot import INBOX_LENGTH, Snapshot
from hive_dashboard.threads import Thread, is_unread
from hive_dashboard.views.home import totals_of

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
            self._approvals(before.approvals, after.approvals)
        if before.drafts != after.drafts:
            self._hub.publish(HOME, "drafts", lambda: self._render.drafts(after.drafts))
        self._agents(before, after)
        self._flow(before.flow, after.flow)
        self._inbox(before.threads, after.threads)
        self._needs(before, after)
        if (totals := totals_of(after.present)) != totals_of(before.present):
            self._hub.publish(HOME, "totals", lambda: self._render.totals(totals))
        for name, messages in after.inboxes.items():
            if before.inboxes.get(name) != messages:
                self._hub.publish(agent_topic(name), "mail", self._render.mail(messages))

    def _agents(self, before: Snapshot, after: Snapshot) -> None:
        names = tuple(agent.name for agent in after.present)
        if names != tuple(agent.name for agent in before.present):
            self._hub.publish(HOME, "agents", lambda: self._render.cards(after.present))
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

    def _inbox(self, before: tuple[Thread, ...], after: tuple[Thread, ...]) -> None:
        known = {thread.trace_id: thread for thread in before}
        oldest = min((thread.at for thread in before), default=None) if len(before) >= INBOX_LENGTH else None
        for thread in reversed(after):
            if thread.trace_id in known:
                self._thread(known[thread.trace_id], thread)
            elif oldest is None or thread.at > oldest:  # else one from further back moved up
                self._publish_thread(thread)

    def _thread(self, before: Thread, after: Thread) -> None:
        known = {letter.id: is_unread(letter) for letter in before.letters}
        for letter in after.letters:
            if letter.id not in known and letter.sent_at >= before.letters[0].sent_at:
                self._publish_letter(letter)
            elif known.get(letter.id) and not is_unread(letter):
                self._publish_read(letter)

    def _publish_thread(self, thread: Thread) -> None:
        self._hub.publish(HOME, "thread", lambda: self._render.thread(thread))

    def _approvals(self, before: tuple[ApprovalView, ...], after: tuple[ApprovalView, ...]) -> None:
        """An open page of one that changed shows what became of it in the place of its form."""
        known = {approval.id: approval.state for approval in before}
        for approval in after:
            if known.get(approval.id, approval.state) is not approval.state:
                self._publish_outcome(approval)

    def _publish_outcome(self, approval: ApprovalView) -> None:
        self._hub.publish(HOME, f"approval-{approval.id}", lambda: self._render.outcome(approval))

    def _publish_letter(self, letter: MessageView) -> None:
        self._hub.publish(HOME, f"thread-{letter.trace_id}", lambda: self._render.letter(letter))

    def _publish_read(self, letter: MessageView) -> None:
        self._hub.publish(HOME, f"read-{letter.id}", lambda: self._render.letter_status(letter))

    def _needs(self, before: Snapshot, after: Snapshot) -> None:
        """A new one joins the end of the queue, whatever its kind: nothing moves under a finger. In the place of one
        that is settled stands what became of it."""
        if [view.id for view in before.questions] != [view.id for view in after.questions]:
            self._hub.publish(HOME, "asked", "")
        known = {need.key: need for need in before.needs}
        needs = after.needs
        if [need.key for need in needs] != list(known):
            self._hub.publish_everywhere("needs", str(len(needs)))
        for need in needs:
            former = known.pop(need.key, None)
            if former is None:
                self._publish_need(need)
            elif former.face != need.face:
                self._publish_need_again(need)
        for need in known.values():
            self._publish_settled(settled(need, after))

    def _publish_need(self, need: Need) -> None:
        self._hub.publish(HOME, "need", lambda: self._render.need(need))

    def _publish_need_again(self, need: Need) -> None:
        self._hub.publish(HOME, f"need-{need.key}", lambda: self._render.need_face(need))

    def _publish_settled(self, need: Need) -> None:
        self._hub.publish(HOME, f"need-{need.key}", lambda: self._render.settled(need))


def settled(need: Need, now: Snapshot) -> Need:
    """The same with what became of it, as far as it is known."""
    if need.question:
        return replace(need, question=next((view for view in now.closed if view.id == need.key), need.question))
    if need.approval:
        return replace(need, approval=next((view for view in now.approvals if view.id == need.key), need.approval))
    if need.agent:
        return replace(need, agent=now.agent(need.agent.name))
    return need


def controls_of(agent: AgentView) -> tuple[object, ...]:
    """What the buttons of its container follow from."""
    return agent.desired, agent.container, bool(agent.needs_update)
