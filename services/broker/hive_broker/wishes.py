"""The manager's wishes, out of its outbox: passed on to the supervisor as commands, or refused. Nobody else has any.

The command's id follows from sender and key: passed on twice, it is carried out once. The supervisor answers.
"""

from typing import Final

import structlog

from hive_broker.directory import Directory
from hive_broker.mail import SOURCE
from hive_contracts import streams
from hive_contracts.agents import CommandFailed, Role
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, InvalidRequest, Refused
from hive_contracts.ids import message_id
from hive_contracts.wishes import AGENT_SOURCE, LIFECYCLE, WISHES
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry

_BY_TYPE: Final = {kind.TYPE: kind for kind in WISHES}
_LIFECYCLE: Final = frozenset(kind.TYPE for kind in LIFECYCLE)

log = structlog.get_logger()


class WishWorker:
    """Handles the wishes in one agent's outbox. It is whose stream it is, whatever an entry says."""

    kinds: Final = frozenset(_BY_TYPE)

    def __init__(self, sender: str, *, bus: Bus, directory: Directory) -> None:
        self._sender = sender
        self._bus = bus
        self._directory = directory

    async def handle(self, entries: list[Entry]) -> None:
        """Raises `Unavailable`; then nothing is acknowledged."""
        appends = [append for entry in entries if (append := self._pass_on(entry))]
        ack = Ack(streams.outbox(self._sender), streams.GROUP_BROKER, [entry.id for entry in entries], delete=True)
        await self._bus.write(Batch(appends, [ack]))

    def _pass_on(self, entry: Entry) -> Append | None:
        try:
            envelope = Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("outbox entry is malformed", sender=self._sender, entry=entry.id, reason=str(error)[:200])
            return None
        identity = message_id(self._sender, envelope.id, envelope.type)
        try:
            subject = self._check(envelope)
        except HiveError as error:
            log.info("wish refused", sender=self._sender, type=envelope.type, code=error.code)
            refusal = CommandFailed(command=envelope.type, subject=self._sender, code=error.code, reason=str(error))
            about = {"subject": self._sender, "correlation_id": envelope.id}
            return Append(
                streams.control(self._sender), Envelope.of(refusal, source=SOURCE, id=f"{identity}:refused", **about)
            )
        command = envelope.model_copy(
            update={
                "id": identity,
                "source": f"{AGENT_SOURCE}{self._sender}",
                "subject": subject,
                "correlation_id": envelope.id,
            }
        )
        return Append(streams.COMMANDS_SUPERVISOR, command)

    def _check(self, envelope: Envelope) -> str:
        """The agent that it is about; the sender's own name when it is about none."""
        record = self._directory.get(self._sender)
        if record is None or record.role is not Role.MANAGER:
            raise Refused("only the hive's manager may ask for this; tell the operator what you need")
        try:
            wish = envelope.payload(_BY_TYPE[envelope.type])
        except MalformedEnvelope as error:
            raise InvalidRequest(f"the arguments are not valid: {str(error)[:300]}") from error
        name = getattr(wish, "name", self._sender)
        if envelope.type in _LIFECYCLE and name == self._sender:
            raise Refused("you cannot do this to yourself; ask the operator")
        return str(name)
