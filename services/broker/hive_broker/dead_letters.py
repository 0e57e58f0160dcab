"""Dead letters: messages that are given up after too many tries, or because their recipient does not come back.

Giving up is one write in the store, which also remembers that the rest is still to do: `hive:dead`, the inbox, and
telling everyone. Every step of that may be repeated, and is, until all are done. A redrive is the way back: the same
message, into the same inbox, with its tries forgotten.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

import structlog

from hive_broker.config import BrokerSettings
from hive_broker.directory import Directory
from hive_broker.mail import SOURCE, Mail, delivered, excerpt
from hive_contracts import streams
from hive_contracts.agents import ContainerStatus
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import Refused, Unavailable
from hive_contracts.messages import (
    Message,
    MessageDead,
    MessageDelivered,
    MessageState,
    MessageView,
    RedriveMessage,
)
from hive_contracts.names import MANAGER, OPERATOR, SYSTEM
from hive_runtime.backoff import persist
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery
from hive_runtime.records.dead import DeadLetterWriter

SWEEP_S: Final = 600.0
"""How often expired messages are looked for, in seconds."""

HISTORY: Final = 50
EXCERPT: Final = 200
PAGE: Final = 200

log = structlog.get_logger()


class DeadLetters:
    """`run` finishes what is to do until cancelled. `clock` gives milliseconds since 1970."""

    def __init__(
        self,
        *,
        bus: Bus,
        writer: DeadLetterWriter,
        directory: Directory,
        mail: Mail,
        settings: BrokerSettings,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._directory = directory
        self.mail = mail
        self._settings = settings
        self._clock = clock
        self._wake = asyncio.Event()
        self._begun = False
        self._one_at_a_time = asyncio.Lock()

    def failed(self, recipient: str, message_id: str, reason: str) -> None:
        """A turn that began with this message ended badly. Raises `StoreUnavailable`.

        From any thread, as `taken_up`; `wake` is to follow.
        """
        most = self._settings.max_attempts
        self._judge(recipient, message_id, f"{most} tries failed, the last with: {reason}", tries=most)

    def taken_up(self, recipient: str, message_id: str) -> None:
        """A turn began with this message; those before may have come to no end. Raises `StoreUnavailable`."""
        most = self._settings.max_attempts
        reason = f"taken up {most + 1} times without an end; it may end its harness each time"
        self._judge(recipient, message_id, reason, tries=most + 1)

    def purged(self, recipient: str, *, before: int) -> None:
        """What waits for this agent since before it was purged will not be handled. Raises `StoreUnavailable`."""
        for message_id in self._writer.waiting(recipient, before=before):
            reason = f"{recipient} was purged"
            self._writer.give_up(recipient, message_id, MessageState.DEAD, reason=reason, at=self._clock())
            self._begun = True

    def _judge(self, recipient: str, message_id: str, reason: str, *, tries: int) -> None:
        state, at = MessageState.DEAD, self._clock()
        if self._writer.give_up(recipient, message_id, state, reason=reason[:500], at=at, tries=tries):
            log.warning("message given up", message=message_id, recipient=recipient, reason=reason[:200])
            self._begun = True

    def wake(self) -> None:
        """Bury what was given up since, if anything was."""
        if self._begun:
            self._begun = False
            self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bury_always())
            group.create_task(self._expire_always())

    async def _bury_always(self) -> None:
        while True:
            self._wake.clear()
            await persist(self.bury)
            await self._wake.wait()

    async def _expire_always(self) -> None:
        """The pause comes first: after a hive was down for long, its agents are still on their way."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await persist(self.expire)

    async def expire(self) -> None:
        """Give up what waited too long: for an agent that does not run, or in the hands of a harness that hangs.

        A turn may take as long as it likes: its harness keeps what it holds. Raises `Unavailable`.
        """
        self._wake.set()
        days = f"{self._settings.max_age_days:g} days"
        before = self._clock() - self._max_age_ms
        for name in self._writer.waited_for() - {OPERATOR}:
            record = self._directory.get(name)
            runs = record is not None and record.container is ContainerStatus.RUNNING
            reason = f"{name} {'holds it without a sign of life for' if runs else 'did not come back within'} {days}"
            forsaken = await self._forsaken(name) if runs else set[str]()
            if runs and not forsaken:
                continue
            for view in self._writer.overdue(name, before=before):
                if runs and forsaken.isdisjoint(await self._entries(name, view.id)):
                    continue
                await asyncio.to_thread(
                    self._writer.give_up, name, view.id, MessageState.EXPIRED, reason=reason, at=self._clock()
                )
                log.warning("message expired", message=view.id, recipient=name)

    @property
    def _max_age_ms(self) -> int:
        return round(self._settings.max_age_days * 24 * 3600 * 1000)

    async def _forsaken(self, name: str) -> set[str]:
        """Inbox entries that were claimed, and for the longest time neither acknowledged nor kept by heartbeat."""
        held = await self._bus.held(streams.inbox(name), streams.GROUP_HARNESS)
        return {entry_id for entry_id, idle_ms in held.items() if idle_ms > self._max_age_ms}

    async def bury(self) -> None:
        """Finish what was begun for every message given up. Raises `Unavailable`; then it is to be repeated."""
        async with self._one_at_a_time:
            if unburied := self._writer.unburied():
                await self._know_everyone()
            for view in unburied:
                await self._bury(view)

    async def _know_everyone(self) -> None:
        """Those who are to be told must be known: a broker that just started, or an emptied server, knows nobody."""
        await self._directory.refresh()
        if self._directory.principals() == {OPERATOR}:
            raise Unavailable("the registry of agents is empty; the supervisor will write it")

    async def _bury(self, view: MessageView) -> None:
        fact = _fact(view)
        generation = sum(step.state in {MessageState.DEAD, MessageState.EXPIRED} for step in view.steps)
        identity = f"{view.id}:dead:{generation}"
        envelope = Envelope.of(fact, source=SOURCE, id=identity, subject=view.id, trace_id=view.trace_id, hop=view.hop)
        await self._bus.write(Batch([Append(streams.DEAD, envelope)]))
        await self._remove(view)
        await self._bus.write(Batch([Append(streams.EVENTS, envelope)]))
        if view.sender != SYSTEM:  # a notice that dies is not worth another
            people = [name for name in (view.sender, MANAGER) if name != view.recipient or name == OPERATOR]
            gone = self._directory.get(view.recipient) is None  # the operator purged it: no news to wake anyone for
            await self.mail.tell(people, _body(fact), key=identity, about=fact.message, context_only=gone)
        await asyncio.to_thread(self._writer.buried, view.id)

    async def _remove(self, view: MessageView) -> None:
        """Take it out of the inbox: all its entries there, should there be more than one."""
        ids = await self._entries(view.recipient, view.id)
        inbox = streams.inbox(view.recipient)
        await self._bus.write(Batch(acks=[Ack(inbox, streams.GROUP_HARNESS, ids, delete=True)] if ids else []))

    async def _entries(self, recipient: str, message_id: str) -> list[str]:
        stream, cursor, found = streams.inbox(recipient), "0-0", list[str]()
        async with aclosing(self._bus.reader()) as reader:
            while entries := await reader.read_after({stream: cursor}, count=PAGE, block_ms=0):
                cursor = entries[-1].id
                found += [entry.id for entry in entries if _carries(entry.fields, message_id)]
        return found

    async def redrive(self, command: Envelope) -> str:
        """Put a dead letter back; returns its id. The same command may come again. Raises `HiveError`."""
        message_id, at = command.payload(RedriveMessage).message_id, self._clock()
        await self.bury()
        view = self._writer.find(message_id)
        if not self._writer.redriven(message_id, command.id):
            await self._directory.refresh()
            if view.recipient not in self._directory.principals():
                raise Refused(f"there is no agent called {view.recipient} any more; send its text to another")
            await asyncio.to_thread(self._writer.redrive, message_id, command.id, at=at)
        message = Message.model_validate(view.model_dump())
        envelope = delivered(message, again=command.id)
        await self._bus.deliver([Delivery(view.recipient, f"{message_id}:{command.id}", envelope)])
        await self._bus.write(Batch([Append(streams.EVENTS, envelope)]))
        log.info("message redriven", message=message_id, recipient=view.recipient)
        return message_id


def _fact(view: MessageView) -> MessageDead:
    last = next(step for step in reversed(view.steps) if step.state in {MessageState.DEAD, MessageState.EXPIRED})
    return MessageDead(
        message=Message.model_validate(view.model_dump()),
        state=last.state,
        reason=last.detail,
        attempts=view.attempts,
        history=view.steps[-HISTORY:],
    )


def _body(fact: MessageDead) -> str:
    message = fact.message
    return (
        f"Message {message.id} from {message.sender} to {message.recipient} was given up: {fact.reason}. It lies in "
        f"the dead letters, from where the operator can send it again (hive redrive {message.id}). It began: "
        f"{excerpt(message.body, EXCERPT)}"
    )


def _carries(fields: Mapping[str, str], message_id: str) -> bool:
    """Whether an inbox entry is this message."""
    if message_id not in fields.get("data", ""):
        return False
    try:
        return Envelope.decode(fields).payload(MessageDelivered).message.id == message_id
    except MalformedEnvelope:
        return False
