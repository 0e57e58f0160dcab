"""The control stream: answers to what this agent asked, and commands of the operator to its harness.

A command is carried out, remembered, answered in the live stream, and only then acknowledged. It may come again after
any of these: what is remembered is answered again and not done again. Commands begin in the order in which they came
and run beside each other, so that one that takes long holds up none. Only the host's side can write this stream.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.control import STALE_S
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError, Refused, TimedOut
from hive_harness.carried_out import CarriedOut
from hive_harness.live import LivePublisher
from hive_runtime.backoff import persist
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.consumer import Consumer

MAX_AT_ONCE: Final = 32

P = TypeVar("P", bound=Payload)
Handler = Callable[[Any], Awaitable[Mapping[str, Any] | None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Command:
    kind: type[Payload]
    handle: Handler
    repeatable: bool


class Control:
    """Say with `on` and `on_answers` who takes what; then `run`, until cancelled."""

    def __init__(self, bus: Bus, agent: str, *, live: LivePublisher, done: CarriedOut) -> None:
        self._bus = bus
        self._agent = agent
        self._live = live
        self._done = done
        self._commands: dict[str, _Command] = {}
        self._answers: dict[str, Callable[[Envelope], None]] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._consumer = Consumer(bus, streams.control(agent), streams.GROUP_HARNESS, agent, may_create=False)

    def on(
        self, kind: type[P], handle: Callable[[P], Awaitable[Mapping[str, Any] | None]], *, repeatable: bool = True
    ) -> None:
        """Commands of `kind` go to `handle`. It returns what the asker wants to know, or raises `HiveError`.

        A harness that was killed before it remembered a command finds it again: one that is `repeatable` is done again,
        another is refused, since nobody knows whether it was done.
        """
        self._commands[kind.TYPE] = _Command(kind, handle, repeatable)

    def on_answers(self, kinds: Iterable[type[Payload]], take: Callable[[Envelope], None]) -> None:
        """Answers of these kinds go to `take`, which may raise `MalformedEnvelope`."""
        self._answers |= {kind.TYPE: take for kind in kinds}

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._take(await self._consumer.read(), group)
        finally:
            await self._consumer.aclose()

    async def _take(self, entries: Sequence[Entry], group: asyncio.TaskGroup) -> None:
        finished = []
        for entry in entries:
            envelope = _decode(entry)
            command = self._commands.get(envelope.type) if envelope else None
            if envelope and command:
                await self._slots.acquire()
                group.create_task(self._serve(entry, envelope, command))
            else:
                finished.append(entry.id)
                self._take_answer(envelope)
        await self._ack(finished)

    def _take_answer(self, envelope: Envelope | None) -> None:
        if envelope is None:
            return
        try:
            if take := self._answers.get(envelope.type):
                take(envelope)
            else:
                log.info("control entry of unknown type", type=envelope.type)
        except MalformedEnvelope as error:
            log.warning("control entry is malformed", type=envelope.type, reason=str(error)[:200])

    async def _serve(self, entry: Entry, envelope: Envelope, command: _Command) -> None:
        bind_contextvars(correlation=envelope.id)
        try:
            answer = self._done.answer_to(envelope.id)
            if answer is None:
                answer = await self._carry_out(envelope, command, again=entry.redelivered)
                self._done.keep(envelope.id, answer)
            self._live.publish_envelope(self._reply(envelope, answer))
            await self._live.settled()
            await self._ack([entry.id])
        finally:
            self._slots.release()

    async def _carry_out(self, envelope: Envelope, command: _Command, *, again: bool) -> CommandDone | CommandFailed:
        kind, subject = envelope.type, self._agent
        try:
            if (datetime.now(UTC) - envelope.time).total_seconds() > STALE_S:
                raise TimedOut(f"the command lay for over {STALE_S} s before it could be read; give it again")
            if again and not command.repeatable:
                raise Refused("the harness ended while it did this; look whether it is done, and give it again if not")
            result = await command.handle(envelope.payload(command.kind))
            log.info("command carried out", command=kind)
            return CommandDone(command=kind, subject=subject, result=dict(result or {}))
        except HiveError as error:
            return CommandFailed(command=kind, subject=subject, code=error.code, reason=str(error))
        except MalformedEnvelope as error:
            return CommandFailed(command=kind, subject=subject, code="refused", reason=str(error)[:300])
        except Exception:
            log.exception("command failed", command=kind)
            reason = f"the harness failed to do this; `hive logs {subject}` says why"
            return CommandFailed(command=kind, subject=subject, code=HiveError.code, reason=reason)

    def _reply(self, envelope: Envelope, answer: CommandDone | CommandFailed) -> Envelope:
        identity = f"{envelope.id}:answer"[:128]
        return Envelope.of(answer, source=self._agent, id=identity, subject=self._agent, correlation_id=envelope.id)

    async def _ack(self, ids: list[str]) -> None:
        if not ids:
            return
        ack = Ack(streams.control(self._agent), streams.GROUP_HARNESS, ids)
        await persist(lambda: self._bus.write(Batch(acks=[ack])))
        self._consumer.settle(ids)


def _decode(entry: Entry) -> Envelope | None:
    try:
        return Envelope.decode(entry.fields)
    except MalformedEnvelope as error:
        log.warning("control entry is malformed", entry=entry.id, reason=str(error)[:200])
        return None
