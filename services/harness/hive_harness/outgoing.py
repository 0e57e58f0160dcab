"""Messages out: into the outbox under an idempotency key, then the broker's answer, which `control` hands in."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import InvalidName, Refused, Unavailable
from hive_contracts.ids import question_id
from hive_contracts.messages import MessageAccepted, MessageRefused, SendMessage, check_body
from hive_contracts.names import BROADCAST, OPERATOR, check_agent_name
from hive_contracts.questions import AskQuestion, QuestionAnswered, ThreadAccepted, ThreadRefused
from hive_contracts.reminders import ThreadsListed
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus

Answer = MessageAccepted | MessageRefused
ThreadAnswer = ThreadAccepted | ThreadRefused | ThreadsListed

ANSWERS: Final = (
    MessageAccepted,
    MessageRefused,
    ThreadAccepted,
    ThreadRefused,
    ThreadsListed,
    QuestionAnswered,
    CommandDone,
    CommandFailed,
)

_BY_TYPE: Final[dict[str, type[Payload]]] = {kind.TYPE: kind for kind in ANSWERS}


@dataclass(frozen=True, slots=True)
class Letter:
    """What an engine wants sent. `cause` is the id of the message that it follows from."""

    to: str
    body: str
    in_reply_to: str | None = None
    cause: str | None = None
    context_only: bool = False
    urgent: bool = False


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
    """`send` waits until `take` is given its answer."""

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
            urgent=letter.urgent,
        )
        answer = await self._exchange(payload, key)
        return answer if isinstance(answer, MessageAccepted | MessageRefused) else None

    async def request(self, payload: Payload, key: str) -> ThreadAnswer | None:
        """The broker's answer to a request about a thread; None when it gave none in time: the request is stored.

        May be called again with the same key. Raises `Unavailable` when it could not be stored.
        """
        answer = await self._exchange(payload, key)
        return answer if isinstance(answer, ThreadAccepted | ThreadRefused | ThreadsListed) else None

    async def wish(self, payload: Payload, key: str) -> CommandDone | CommandFailed | None:
        """The supervisor's answer to a manager's wish; None when it gave none in time: the wish is stored.

        May be called again with the same key. Raises `Unavailable` when it could not be stored.
        """
        answer = await self._exchange(payload, key)
        return answer if isinstance(answer, CommandDone | CommandFailed) else None

    def question_id(self, key: str) -> str:
        """The id of the question that is asked under `key`."""
        return question_id(self._agent, key)

    async def ask_and_wait(self, wish: AskQuestion, key: str) -> QuestionAnswered | ThreadRefused:
        """Ask for permission and wait for the operator's answer, however long: bound it.

        May be called again with the same key. Raises `Unavailable` when it could not be stored.
        """
        identity = self.question_id(key)
        taken, answered = self._waiters.add(key), self._waiters.add(identity)
        try:
            await self._store(wish, key)
            answer = await taken
            if isinstance(answer, ThreadRefused):
                return answer
            decided = await answered
        finally:
            self._waiters.forget(key, taken)
            self._waiters.forget(identity, answered)
        if not isinstance(decided, QuestionAnswered):
            raise Unavailable("the hive answered something else")
        return decided

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

    def take(self, envelope: Envelope) -> None:
        """An answer of the broker's, of one of the kinds `ANSWERS`. Raises `MalformedEnvelope`."""
        self._waiters.answer(envelope.correlation_id, envelope.payload(_BY_TYPE[envelope.type]))

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


def check_name(name: str) -> None:
    """Raises `InvalidName` for what is neither the operator nor a possible agent."""
    try:
        check_agent_name(name)
    except InvalidName as error:
        raise InvalidName(f"{error}; messages go to an agent's name or to {OPERATOR!r}") from error
