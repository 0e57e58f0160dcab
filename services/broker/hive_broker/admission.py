"""Whether a message may be sent, and to whom it goes: recipients, limits, and what a message follows from."""

from collections import Counter
from dataclasses import dataclass, field

from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.limits import Limits
from hive_contracts.agents import Desired, Role
from hive_contracts.errors import InboxFull, Refused, UnknownRecipient
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageView, SendMessage, check_body
from hive_contracts.names import BROADCAST, OPERATOR
from hive_runtime.records.messages import MessageWriter


@dataclass(frozen=True, slots=True)
class Admitted:
    recipients: tuple[str, ...]
    note: str = ""


@dataclass(slots=True)
class Admission:
    """One per outbox: `begin` clears what was counted for one batch. A message that is on record stays admitted."""

    depths: Depths
    messages: MessageWriter
    directory: Directory
    limits: Limits
    _added: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        self._added.clear()

    def cause(self, sender: str, send: SendMessage) -> MessageView | None:
        """The message that this one answers or follows from, if the sender really received it."""
        for claimed in (send.in_reply_to, send.cause):
            found = self.messages.find(claimed, sender) if claimed else None
            if found:
                return found
        return None

    def hop(self, sender: str, cause: MessageView | None) -> int:
        """The operator's word begins the count anew: a conversation with a person in it is no loop."""
        return cause.hop + 1 if cause and sender != OPERATOR else 0

    async def admit(self, draft: Message, key: str) -> Admitted:
        """Raises the `HiveError` with which it is refused."""
        check_body(draft.body)
        self._check_urgent(draft)
        if draft.broadcast:
            return await self._admit_broadcast(draft, key)
        if draft.recipient == draft.sender:
            raise Refused("you cannot send to yourself; write a note in your state directory instead")
        notes = [await self._note_on(draft)]
        if not self.messages.find(draft.id, draft.recipient):
            self.limits.check(draft.sender, draft.recipient, draft.trace_id, draft.hop)
            notes.append(await self._check_depth(draft.recipient))
            self._count(draft, (draft.recipient,))
        return Admitted((draft.recipient,), "; ".join(filter(None, notes)))

    async def _admit_broadcast(self, draft: Message, key: str) -> Admitted:
        """Everyone but the sender and the operator; whose inbox is full is left out and named."""
        await self.directory.refresh()
        names = sorted(self.directory.principals() - {draft.sender, OPERATOR})
        if not names:
            raise Refused("there is no other agent to send this to")
        known = [name for name in names if self.messages.find(message_id(draft.sender, key, name), name)]
        if known:
            return Admitted(tuple(known), _sent_to(known))
        self.limits.check(draft.sender, BROADCAST, draft.trace_id, draft.hop)
        full = [name for name in names if await self._depth(name) >= self.limits.inbox_hard]
        open_names = [name for name in names if name not in full]
        if not open_names:
            raise InboxFull("every inbox is full; send again later")
        self._count(draft, tuple(open_names))
        missed = f"; not to {', '.join(full)}: too many messages wait there" if full else ""
        return Admitted(tuple(open_names), _sent_to(open_names) + missed)

    def _check_urgent(self, draft: Message) -> None:
        record = self.directory.get(draft.sender)
        if draft.urgent and draft.sender != OPERATOR and not (record and record.role is Role.MANAGER):
            raise Refused("only the operator and the manager may mark a message as urgent; send it without")

    async def _note_on(self, draft: Message) -> str:
        """What the sender should know of the recipient. Raises `UnknownRecipient`."""
        recipient = draft.recipient
        if recipient not in self.directory.principals():
            await self.directory.refresh()
        if recipient not in self.directory.principals():
            known = ", ".join(sorted(self.directory.principals() - {draft.sender}))
            raise UnknownRecipient(f"there is nobody called {recipient!r} here; there are {known}")
        record = self.directory.get(recipient)
        if record and record.desired is Desired.STOPPED:
            return f"{recipient} is stopped; the message waits in its inbox until it is started"
        return ""

    async def _check_depth(self, recipient: str) -> str:
        """What the sender should know of the recipient's inbox. Raises `InboxFull`."""
        depth = await self._depth(recipient)
        if depth >= self.limits.inbox_hard:
            raise InboxFull(f"{depth} messages wait in the inbox of {recipient}, which takes no more; send later")
        return f"{depth} messages wait in the inbox of {recipient} already" if depth >= self.limits.inbox_soft else ""

    async def _depth(self, recipient: str) -> int:
        """What the inbox holds, with what this batch will add."""
        return await self.depths.at_most(recipient, on_the_way=self._added[recipient])

    def _count(self, draft: Message, recipients: tuple[str, ...]) -> None:
        self.limits.count(draft.sender, draft.recipient, draft.trace_id)
        for name in recipients:
            self.depths.add(name)
        self._added.update(recipients)


def _sent_to(names: list[str]) -> str:
    return f"sent to {len(names)}: {', '.join(names)}"
