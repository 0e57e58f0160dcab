"""Who there is: the broker's copy of the registry `hive:agents`, which the supervisor keeps."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from pydantic import ValidationError

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, Role
from hive_contracts.errors import Refused, UnknownRecipient
from hive_contracts.names import OPERATOR
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus, Entry, Reader
from hive_runtime.errors import BusUnavailable

REFRESH_MS: Final = 5_000
"""How long the registry may have changed without an event before it is read again, in milliseconds."""

PAUSE_S: Final = 0.05

log = structlog.get_logger()


class Directory:
    """`principals()` are the agents and the operator: everyone with an inbox."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._agents: dict[str, AgentRecord] = {}
        self._texts: dict[str, str] = {}
        self._principals: frozenset[str] = frozenset({OPERATOR})
        self._one_at_a_time = asyncio.Lock()
        self._moments = itertools.count(1)
        self._true_at = 0

    def principals(self) -> frozenset[str]:
        return self._principals

    def check_recipient(self, sender: str, recipient: str) -> None:
        """Raises `UnknownRecipient`, or `Refused` where the sender's own config does not name the recipient."""
        if recipient not in self.principals():
            raise UnknownRecipient(self._why_unknown(sender, recipient[:100]))
        if not self.may_write(sender, recipient):
            allowed = [name for name in sorted(self.principals() - {sender}) if self.may_write(sender, name)]
            raise Refused(f"your config does not let you write to {recipient}; you may write to {', '.join(allowed)}")

    def may_write(self, sender: str, recipient: str) -> bool:
        """By the sender's config. The operator and the manager can always be written to, and may write to everybody."""
        record, other = self._agents.get(sender), self._agents.get(recipient)
        if record is None or record.config.recipients is None or record.role is Role.MANAGER or recipient == OPERATOR:
            return True
        return recipient in record.config.recipients or (other is not None and other.role is Role.MANAGER)

    def _why_unknown(self, sender: str, recipient: str) -> str:
        known = ", ".join(sorted(self.principals() - {sender}))
        if recipient in self._agents:
            return f"{recipient} was destroyed and takes no messages; there are {known}"
        return f"there is nobody called {recipient!r} here; there are {known}"

    def get(self, name: str) -> AgentRecord | None:
        return self._agents.get(name)

    async def refresh(self) -> None:
        """Read the registry again; for many who ask at once it is read once. Raises `BusUnavailable`.

        An empty one is a server that lost its data, not a hive that lost its agents: the supervisor writes it again.
        """
        asked = next(self._moments)
        async with self._one_at_a_time:
            if self._true_at < asked:
                begun = next(self._moments)
                await self._read()
                self._true_at = begun

    async def _read(self) -> None:
        texts = await self._bus.hash_all(streams.AGENTS)
        if not texts or texts == self._texts:
            return
        changed = {name: text for name, text in texts.items() if self._texts.get(name) != text}
        found = {name: record for name, record in self._agents.items() if name in texts and name not in changed}
        found |= {name: record for name, text in changed.items() if (record := _parsed(name, text))}
        if found:
            self._agents, self._texts = found, texts
            self._principals = frozenset({*(name for name, it in found.items() if it.desired.is_there), OPERATOR})

    async def follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Keep the copy true until cancelled; call `changed` after each reading."""
        reader = self._bus.reader()
        cursor = await persist(lambda: self._bus.last_id(streams.EVENTS))
        try:
            while True:
                await persist(self.refresh)
                await changed()
                cursor = await self._next_change(reader, cursor)
        finally:
            await reader.aclose()

    async def _next_change(self, reader: Reader, cursor: str) -> str:
        while True:
            try:
                entries = await reader.read_after({streams.EVENTS: cursor}, count=1000, block_ms=REFRESH_MS)
            except BusUnavailable:
                return cursor
            cursor = entries[-1].id if entries else cursor
            await asyncio.sleep(PAUSE_S)  # so that a busy stream is read in few and large pieces
            if not entries or any(_concerns_agents(entry) for entry in entries):
                return cursor


def _concerns_agents(entry: Entry) -> bool:
    return entry.fields.get("type", "").startswith(("agent.", "container."))


def _parsed(name: str, text: str) -> AgentRecord | None:
    try:
        return AgentRecord.read(text)
    except ValidationError:
        log.warning("registry entry is malformed", agent=name)
        return None
