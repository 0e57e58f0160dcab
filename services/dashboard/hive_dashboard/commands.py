"""What the operator asks for: appended to a stream, and awaited by `correlation_id`.

Messages go through the operator's outbox and are answered on the operator's control stream; commands to services are
answered on `hive:events`, commands to an agent's harness in that agent's live stream. An answer that nobody waits for
any more is dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.control import STALE_S
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import TimedOut, error_from_code
from hive_contracts.ids import message_id, new_id
from hive_contracts.messages import MessageAccepted, MessageRefused, MessageState, SendMessage, check_body
from hive_contracts.names import OPERATOR
from hive_contracts.questions import AnswerQuestion, CancelQuestion, ThreadRefused, check_answer
from hive_dashboard.audit import recorded
from hive_runtime.bus import Ack, Batch, Bus, Entry

SOURCE: Final = "dashboard"
QUEUED: Final = "queued"
ANSWERS: Final = frozenset({CommandDone.TYPE, CommandFailed.TYPE})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a send. `state` is `accepted`, or `queued` while the broker has not confirmed it."""

    id: str
    to: str
    state: str
    note: str = ""


class Answers:
    """Who waits for which answer. Several may wait for the same one."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Envelope]]] = {}

    @asynccontextmanager
    async def expect(self, correlation_id: str) -> AsyncIterator[asyncio.Future[Envelope]]:
        """A future of the answer, for the length of the block; enter it before asking."""
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(correlation_id, set()).add(future)
        try:
            yield future
        finally:
            self._waiting[correlation_id].discard(future)
            if not self._waiting[correlation_id]:
                del self._waiting[correlation_id]

    def resolve(self, envelope: Envelope) -> None:
        for future in self._waiting.get(envelope.correlation_id, ()):
            if not future.done():
                future.set_result(envelope)


class Commands:
    """`answer_s` and `command_s`: how long to wait for broker and supervisor, in seconds."""

    def __init__(self, bus: Bus, answers: Answers, *, answer_s: float, command_s: float) -> None:
        self._bus = bus
        self._answers = answers
        self._answer_s = answer_s
        self._command_s = command_s

    async def send(
        self, to: str, body: str, *, in_reply_to: str | None = None, key: str | None = None, urgent: bool = False
    ) -> Sent:
        """Send as the operator; the same `key` sends once. Raises what the broker refuses with, and `Unavailable`."""
        check_body(body)
        key = key or new_id()
        payload = SendMessage(to=to, body=body, in_reply_to=in_reply_to, urgent=urgent)
        with recorded(payload):
            async with self._answers.expect(key) as answer:
                await self._bus.append(streams.outbox(OPERATOR), Envelope.of(payload, source=OPERATOR, id=key))
                try:
                    async with asyncio.timeout(self._answer_s):
                        envelope = await answer
                except TimeoutError:
                    note = "the broker has not confirmed it yet; it is stored and will be delivered"
                    return Sent(message_id(OPERATOR, key, to), to, QUEUED, note)
            return _sent(envelope, to)

    async def answer_question(self, question_id: str, answer: str) -> None:
        """Answer as the operator. Raises what the broker refuses with, `TimedOut`, and `Unavailable`."""
        payload = AnswerQuestion(id=question_id, answer=check_answer(answer))
        with recorded(payload):
            await self._request(payload)

    async def cancel_question(self, question_id: str) -> None:
        """Take the question back as the operator. Raises as `answer_question` does."""
        payload = CancelQuestion(id=question_id)
        with recorded(payload):
            await self._request(payload)

    async def _request(self, payload: Payload) -> None:
        key = new_id()
        async with self._answers.expect(key) as answer:
            await self._bus.append(streams.outbox(OPERATOR), Envelope.of(payload, source=OPERATOR, id=key))
            try:
                async with asyncio.timeout(self._answer_s):
                    envelope = await answer
            except TimeoutError:
                raise TimedOut(
                    f"the broker has not confirmed it within {self._answer_s:g} s; it is stored and will be done: "
                    "look at `hive questions` in a moment"
                ) from None
        if envelope.type == ThreadRefused.TYPE:
            refused = envelope.payload(ThreadRefused)
            raise error_from_code(refused.code, refused.reason)

    async def command(self, payload: Payload, *, to: str = streams.COMMANDS_SUPERVISOR) -> dict[str, Any]:
        """Ask the supervisor, or who else reads the commands `to`, and wait until it is done; what it found out.

        Raises what it fails with, `TimedOut`, and `Unavailable`.
        """
        service = to.rpartition(":")[2]
        key = new_id()
        late = (
            f"the {service} has not answered within {self._command_s:g} s; it may still do it: "
            f"look again in a moment, and at `hive logs {service}`"
        )
        with recorded(payload):
            return await self._ask(to, Envelope.of(payload, source=OPERATOR, id=key), waiting_for=key, late=late)

    async def command_agent(self, agent: str, payload: Payload, *, within_s: float | None = None) -> dict[str, Any]:
        """Ask the harness of an agent that runs, and wait until it is done; what it found out, in its own words.

        `within_s`: for what takes longer than other commands. Raises as `command` does.
        """
        key = new_id()
        within_s = within_s or self._command_s
        late = (
            f"{agent} has not answered within {within_s:g} s; it does it if it reads it within "
            f"{STALE_S} s: look again in a moment, and at `hive logs {agent}`"
        )
        envelope = Envelope.of(payload, source=OPERATOR, id=key, subject=agent)
        with recorded(payload, target=agent):
            return await self._ask(
                streams.control(agent), envelope, waiting_for=_of_agent(agent, key), late=late, within_s=within_s
            )

    async def _ask(
        self, stream: str, envelope: Envelope, *, waiting_for: str, late: str, within_s: float | None = None
    ) -> dict[str, Any]:
        async with self._answers.expect(waiting_for) as waiter:
            await self._bus.append(stream, envelope)
            try:
                async with asyncio.timeout(within_s or self._command_s):
                    answer = await waiter
            except TimeoutError:
                raise TimedOut(late) from None
        if answer.type == CommandFailed.TYPE:
            failed = answer.payload(CommandFailed)
            raise error_from_code(failed.code, failed.reason, failed.status)
        return answer.payload(CommandDone).result

    async def handle_control(self, entries: list[Entry]) -> None:
        """Take answers off the operator's control stream."""
        for entry in entries:
            try:
                self._answers.resolve(Envelope.decode(entry.fields))
            except MalformedEnvelope as error:
                log.warning("control entry is malformed", entry=entry.id, reason=str(error)[:200])
        ids = [entry.id for entry in entries]
        await self._bus.write(Batch(acks=[Ack(streams.control(OPERATOR), streams.GROUP_HARNESS, ids)]))

    def handle_event(self, envelope: Envelope) -> None:
        """Take the services' answers from `hive:events`."""
        if envelope.type in ANSWERS:
            self._answers.resolve(envelope)

    def handle_live(self, agent: str, envelope: Envelope) -> None:
        """Take an agent's answer from its live stream. It answers for itself alone, whatever it claims."""
        named = envelope.model_copy(update={"correlation_id": _of_agent(agent, envelope.correlation_id)})
        self._answers.resolve(named)


def _of_agent(agent: str, key: str) -> str:
    """What an answer from this agent's own stream is waited for under; no service answers under such an id."""
    return f"{agent}/{key}"


def _sent(envelope: Envelope, to: str) -> Sent:
    if envelope.type == MessageRefused.TYPE:
        refused = envelope.payload(MessageRefused)
        raise error_from_code(refused.code, refused.reason)
    accepted = envelope.payload(MessageAccepted)
    return Sent(accepted.message_id, to, MessageState.ACCEPTED, accepted.note)
