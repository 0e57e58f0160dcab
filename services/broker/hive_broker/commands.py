"""Commands to the broker: carried out, answered by `correlation_id` on `hive:events`, and only then acknowledged."""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from hive_broker.mail import SOURCE
from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, Unavailable
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry

Handler = Callable[[Envelope], Awaitable[str]]
"""Carries a command out and returns its subject. The same command may come again; then it says the same."""

log = structlog.get_logger()


class Commands:
    """`handlers`: the type of a command → who carries it out."""

    def __init__(self, bus: Bus, handlers: Mapping[str, Handler]) -> None:
        self._bus = bus
        self._handlers = handlers

    async def handle(self, entries: list[Entry]) -> None:
        """Each in order. Raises `Unavailable`; then the rest is not acknowledged."""
        for entry in entries:
            answer = await self._answer(entry)
            appends = [Append(streams.EVENTS, answer)] if answer else []
            ack = Ack(streams.COMMANDS_BROKER, streams.GROUP_BROKER, [entry.id], delete=True)
            await self._bus.write(Batch(appends, [ack]))

    async def _answer(self, entry: Entry) -> Envelope | None:
        try:
            command = Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("command is malformed", entry=entry.id, reason=str(error)[:200])
            return None
        fact = await self._carry_out(command)
        log.info("command answered", type=command.type, subject=fact.subject, done=isinstance(fact, CommandDone))
        identity = f"{command.id}:answer"[:128]
        return Envelope.of(fact, source=SOURCE, id=identity, subject=fact.subject, correlation_id=command.id)

    async def _carry_out(self, command: Envelope) -> CommandDone | CommandFailed:
        try:
            if command.type not in self._handlers:
                raise MalformedEnvelope(f"{command.type} is not a command that this broker knows")
            subject = await self._handlers[command.type](command)
        except MalformedEnvelope as error:
            return CommandFailed(command=command.type, subject=command.subject, code="invalid", reason=str(error))
        except Unavailable:
            raise
        except HiveError as error:
            return CommandFailed(command=command.type, subject=command.subject, code=error.code, reason=str(error))
        return CommandDone(command=command.type, subject=subject)
