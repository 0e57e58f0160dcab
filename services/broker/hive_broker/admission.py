"""Whether a message may be sent, and to whom it goes: recipients, limits, and what a message follows from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known, Origin
from hive_broker.limits import Limits
from hive_contracts.agents import Desired, Role
from hive_contracts.errors import InboxFull, KeyReused, Refused
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, SendMessage, check_body
from hive_contracts.names import BROADCAST, OPERATOR


@dataclass(frozen=True, slots=True)
class Admitted:
    recipients: tuple[str, ...]
    note: str = ""


@dataclass(slots=True)
class Admission:
    """One per outbox: `begin` clears what was counted for one batch. A message that was taken on stays admitted."""

    depths: Depths
    known: Known
    directory: Directory
    limits: Limits
    _added: Counter[str] = field(default_factory=Counter)
    _asked: set[str] = field(default_factory=set)

    def begin(self) -> None:
        self._added.clear()
        self._asked.clear()

    async def prepare(self, sender: str, sends: Sequence[tuple[str, SendMessage]]) -> None:
        """Look up what the checks of these (key, send) of one sender need to know. Raises `BusUnavailable`."""
        ids = [message_id(sender, key, send.to) for key, send in sends if send.to != BROADCAST]
        causes = {claimed for _, send in sends for claimed in (send.in_reply_to, send.cause) if claimed}
        await self.known.load(ids, causes=causes, receiver=sender)

    def cause(self, sender: str, send: SendMessage) -> Origin | None:
        """The message that this one answers or follows from, if the sender may answer it."""
        for claimed in (send.in_reply_to, send.cause):
            found = self.known.origin(claimed, sender) if claimed else None
            if found:
                return found
        return None

    def hop(self, sender: str, cause: Origin | None) -> int:
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
        is_known = self._is_known(draft, draft.id)
        notes = [await self._note_on(draft)]
        if not is_known:
            self.limits.check(draft.sender, draft.recipient, draft.trace_id, draft.hop)
            notes.append(await self._check_depth(draft.recipient))
            self._count(draft, (draft.recipient,))
        return Admitted((draft.recipient,), "; ".join(filter(None, notes)))

    async def _admit_broadcast(self, draft: Message, key: str) -> Admitted:
        """Everyone but the sender and the operator; whose inbox is full is left out and named."""
        await self.directory.refresh()
        others = self.directory.principals() - {draft.sender, OPERATOR}
        names = sorted(name for name in others if self.directory.may_write(draft.sender, name))
        if not names:
            raise Refused("there is no other agent to send this to")
        ids = {name: message_id(draft.sender, key, name) for name in names}
        await self.known.load(ids.values())
        known = [name for name in names if self._is_known(draft, ids[name])]
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

    async def already(self, draft: Message, key: str) -> Admitted | None:
        """What was delivered of it before: by a broker that ended before it could tell. Raises `BusUnavailable`.

        Nothing is refused that its recipient has.
        """
        names = self.directory.principals() & {draft.recipient}
        if draft.broadcast:
            names = self.directory.principals() - {draft.sender, OPERATOR}
        found = await self.known.was_made([(name, message_id(draft.sender, key, name)) for name in sorted(names)])
        return Admitted(tuple(found), _sent_to(found) if draft.broadcast else "") if found else None

    def _is_known(self, draft: Message, known_id: str) -> bool:
        """Whether it was taken on before under its key. Raises `KeyReused` when that was another text."""
        known = self.known.find(known_id)
        if known and known.body != draft.body:
            raise KeyReused("another message was sent under this idempotency key; make a new one for each")
        return known is not None

    def _check_urgent(self, draft: Message) -> None:
        record = self.directory.get(draft.sender)
        if draft.urgent and draft.sender != OPERATOR and not (record and record.role is Role.MANAGER):
            raise Refused("only the operator and the manager may mark a message as urgent; send it without")

    async def _note_on(self, draft: Message) -> str:
        """What the sender should know of the recipient. Raises `UnknownRecipient`, and `Refused`."""
        recipient = draft.recipient
        if recipient not in self.directory.principals():
            await self.directory.refresh()
        self.directory.check_recipient(draft.sender, recipient)
        record = self.directory.get(recipient)
        if record and record.desired is Desired.STOPPED:
            return f"{recipient} is stopped; the message waits in its inbox until it is started"
        return ""

    async def _check_depth(self, recipient: str) -> str:
        """What the sender should know of the recipient's inbox. Raises `InboxFull`."""
        added, hard = self._added[recipient], self.limits.inbox_hard
        depth = await self.depths.check(recipient, on_the_way=added, hard=hard, asked=self._asked)
        return f"{depth} messages wait in the inbox of {recipient} already" if depth >= self.limits.inbox_soft else ""

    async def _depth(self, recipient: str) -> int:
        """What the inbox holds, with what this batch will add."""
        return await self.depths.at_most(recipient, on_the_way=self._added[recipient], asked=self._asked)

    def _count(self, draft: Message, recipients: tuple[str, ...]) -> None:
        self.limits.count(draft.sender, draft.recipient, draft.trace_id)
        for name in recipients:
            self.depths.add(name)
        self._added.update(recipients)


def _sent_to(names: list[str]) -> str:
    return f"sent to {len(names)}: {', '.join(names)}"
