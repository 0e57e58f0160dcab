"""Messages out: into the outbox under an idempotency key, then the broker's answer from the control stream."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import InvalidName, Refused, Unavailable
from hive_contracts.messages import MessageAccepted, MessageRefused, SendMessage, check_body
from hive_contracts.names import BROADCAST, OPERATOR, check_agent_name
from hive_contracts.questions import ThreadAccepted, ThreadRefused
from hive_contracts.reminders import ThreadsListed
from hive_runtime.backoff import persist
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.consumer import Consumer, consume

Answer = MessageAccepted | MessageRefused
ThreadAnswer = ThreadAccepted | ThreadRefused | ThreadsListed

_ANSWERS: Final[dict[str, type[Payload]]] = {
    kind.TYPE: kind for kind in (MessageAccepted, MessageRefused, ThreadAccepted, ThreadRefused, ThreadsListed)
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Letter:
    """What an engine wants sent. `cause` is the id of the message that it follows from."""

    to: str
    body: str
    in_reply_to: str | None = None
    cause: str | None = None
    context_only: bool = False


@dataclass(slots=True)
class _Waiters:
    """Who waits for which key's answer. A key may be waited for more than once."""

    futures: dict[str, list[asyncio.Future[Payload]]] = field(default_factory=dict)

    def add(self, key: str) -> asyncio.Future[Payload]:
        future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self.futures.setdefault(key, []).append(future)
        return future

    def answer(self, key: str, answer: Payload) -> None:
        for future in self.futures.pop(key, ()):
            if not future.done():
                future.set_result(answer)

    def forget(self, key: str, future: asyncio.Future[Payload]) -> None:
        waiting = self.futures.get(key, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self.futures.pop(key, None)


class Outgoing:
    """`listen` reads the control stream until cancelled; `send` works while it does."""

    def __init__(self, bus: Bus, agent: str, *, wait_s: float) -> None:
        self._bus = bus
        self._agent = agent
        self._wait_s = wait_s
        self._waiters = _Waiters()

    async def send(self, letter: Letter, key: str) -> Answer | None:
        """The broker's answer; None when it gave none in time: the message is stored and will be delivered.

        May be called again with the same key. Raises `InvalidName`, `InvalidBody`, `BodyTooLong`, `Refused` before
        anything is stored, and `Unavailable` when it could not be stored.
        """
        self._check(letter)
        payload = SendMessage(
            to=letter.to,
            body=letter.body,
            in_reply_to=letter.in_reply_to,
            cause=letter.cause,
            context_only=letter.context_only,
        )
        answer = await self._exchange(payload, key)
        return answer if isinstance(answer, MessageAccepted | MessageRefused) else None

    async def request(self, payload: Payload, key: str) -> ThreadAnswer | None:
        """The broker's answer to a request about a thread; None when it gave none in time: the request is stored.

        May be called again with the same key. Raises `Unavailable` when it could not be stored.
        """
        answer = await self._exchange(payload, key)
        return answer if isinstance(answer, ThreadAccepted | ThreadRefused | ThreadsListed) else None

    async def _exchange(self, payload: Payload, key: str) -> Payload | None:
        waiter = self._waiters.add(key)
        deadline = asyncio.get_running_loop().time() + self._wait_s
        try:
            await self._store(payload, key)
            async with asyncio.timeout_at(deadline):
                return await waiter
        except TimeoutError:
            return None
        finally:
            self._waiters.forget(key, waiter)

    async def listen(self) -> None:
        stream = streams.control(self._agent)
        consumer = Consumer(self._bus, stream, streams.GROUP_HARNESS, self._agent, may_create=False)
        try:
            await consume(consumer, self._take)
        finally:
            await consumer.aclose()

    def _check(self, letter: Letter) -> None:
        if letter.to not in {OPERATOR, BROADCAST}:
            check_name(letter.to)
        if letter.to == self._agent:
            raise Refused("you cannot send to yourself; write a note in your state directory instead")
        check_body(letter.body)

    async def _store(self, payload: Payload, key: str) -> None:
        envelope = Envelope.of(payload, source=self._agent, id=key)
        try:
            async with asyncio.timeout(self._wait_s):
                await persist(lambda: self._bus.append(streams.outbox(self._agent), envelope))
        except TimeoutError as error:
            raise Unavailable("the hive's Redis does not take messages now") from error

    async def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._answer(entry)
        ids = [entry.id for entry in entries]
        await self._bus.write(Batch(acks=[Ack(streams.control(self._agent), streams.GROUP_HARNESS, ids)]))

    def _answer(self, entry: Entry) -> None:
        try:
            envelope = Envelope.decode(entry.fields)
            if kind := _ANSWERS.get(envelope.type):
                self._waiters.answer(envelope.correlation_id, envelope.payload(kind))
            else:
                log.debug("control entry of unknown type", type=envelope.type)
        except MalformedEnvelope as error:
            log.warning("control entry is malformed", entry=entry.id, reason=str(error)[:200])


def check_name(name: str) -> None:
    """Raises `InvalidName` for what is neither the operator nor a possible agent."""
    try:
        check_agent_name(name)
    except InvalidName as error:
        raise InvalidName(f"{error}; messages go to an agent's name or to {OPERATOR!r}") from error
