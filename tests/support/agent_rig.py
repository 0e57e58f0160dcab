"""A harness in this process, with the test in the broker's place: it delivers messages and answers the outbox."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed, Engine
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageAccepted, MessageDelivered, MessageRefused, SendMessage
from hive_harness.config import HarnessConfig
from hive_harness.service import Harness
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery, ensure_principal

AGENT = "alice"
PATIENCE_S = 20.0

Predicate = Callable[[Envelope], bool]


def config_for(directory: Path, engine: Engine = Engine.SCRIPTED, /, **settings: Any) -> HarnessConfig:
    """A harness whose state lies in `directory`; retries come fast."""
    state = directory / "state"
    state.mkdir(exist_ok=True, parents=True)
    chosen = HarnessSettings(**({"retry_first_s": 0.01, "retry_limit_s": 0.05} | settings))
    run_dir = directory / "run"
    return HarnessConfig(AGENT, engine, state, run_dir, path=os.environ["PATH"], settings=chosen)


@dataclass(slots=True)
class Outside:
    """What is around the harness: its streams, seen from the host's side."""

    bus: Bus
    agent: str = AGENT
    cursor: str = "0-0"
    seen: list[Envelope] = field(default_factory=list)
    delivered: list[Envelope] = field(default_factory=list)
    sent: list[SendMessage] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    silent: bool = False
    refuse: Callable[[SendMessage], MessageRefused | None] = lambda send: None
    _numbers: Any = field(default_factory=itertools.count)

    async def deliver(self, body: str, *, sender: str = "operator", key: str | None = None, **flags: bool) -> str:
        """Put a message into the inbox; its id."""
        key = key or f"k{next(self._numbers)}"
        identity = message_id(sender, key, self.agent)
        message = Message(
            id=identity,
            sender=sender,
            recipient=self.agent,
            body=body,
            sent_at=datetime.now(UTC),
            trace_id=identity,
            **flags,
        )
        envelope = Envelope.of(MessageDelivered(message=message), source="broker", id=f"{identity}:delivered")
        await self.bus.deliver([Delivery(self.agent, identity, envelope)])
        self.delivered.append(envelope)
        return identity

    async def answer_outbox(self) -> None:
        """Until cancelled: take what the harness sends, and accept or refuse it."""
        reader = self.bus.reader()
        try:
            while True:
                stream = streams.outbox(self.agent)
                entries = await reader.read_new(stream, streams.GROUP_BROKER, "test", count=10, block_ms=1000)
                for entry in entries:
                    await self._answer(Envelope.decode(entry.fields))
                acks = [Ack(stream, streams.GROUP_BROKER, [entry.id for entry in entries], delete=True)]
                await self.bus.write(Batch(acks=acks))
        finally:
            await reader.aclose()

    async def _answer(self, envelope: Envelope) -> None:
        send = envelope.payload(SendMessage)
        self.sent.append(send)
        self.keys.append(envelope.id)
        if self.silent:
            return
        identity = message_id(self.agent, envelope.id, send.to)
        fact = self.refuse(send) or MessageAccepted(message_id=identity, sender=self.agent, to=send.to)
        answer = Envelope.of(fact, source="broker", correlation_id=envelope.id)
        await self.bus.write(Batch([Append(streams.control(self.agent), answer)]))

    async def until(self, wanted: Predicate) -> Envelope:
        """The next live event that `wanted` accepts, counted from the last one returned."""
        reader = self.bus.reader()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    entries = await reader.read_after({streams.live(self.agent): self.cursor}, count=1, block_ms=1000)
                    for entry in entries:
                        self.cursor = entry.id
                        self.seen.append(Envelope.decode(entry.fields))
                        if wanted(self.seen[-1]):
                            return self.seen[-1]
        except TimeoutError:
            raise AssertionError(f"not seen; there were {[event.type for event in self.seen]}") from None
        finally:
            await reader.aclose()

    async def command(self, payload: Payload, **fields: Any) -> str:
        """Append an operator's command to the control stream; its id."""
        envelope = Envelope.of(payload, source="operator", **fields)
        await self.bus.append(streams.control(self.agent), envelope)
        return envelope.id

    async def answer(self, command_id: str) -> Envelope:
        """The next answer to that command."""
        kinds = {CommandDone.TYPE, CommandFailed.TYPE}
        return await self.until(lambda event: event.type in kinds and event.correlation_id == command_id)

    async def told(self, payload: Payload) -> dict[str, Any]:
        """Give the command and wait; the data of its answer."""
        return (await self.answer(await self.command(payload))).data

    async def turn_end(self) -> dict[str, Any]:
        """The data of the next `turn.ended`."""
        return (await self.until(of_type("turn.ended"))).data

    async def at_rest(self) -> None:
        """Returns when the harness has done with the turn last seen; then its messages are acknowledged or put back."""
        await self.in_state("idle")

    async def in_state(self, name: str) -> dict[str, Any]:
        """Returns the state once the harness says that it is this one and no turn runs."""

        def wanted(event: Envelope) -> bool:
            state = event.data.get("state", {})
            return bool(state) and state["state"] == name and (state["turn_id"] is None or name == "thinking")

        found: dict[str, Any] = (await self.until(wanted)).data["state"]
        return found

    def events(self, kind: type[Payload]) -> list[Any]:
        """The payloads of this kind among the live events seen so far."""
        return [event.payload(kind) for event in self.seen if event.type == kind.TYPE]


def of_type(kind: str) -> Predicate:
    return lambda event: event.type == kind


@asynccontextmanager
async def outside(bus: Bus) -> AsyncIterator[Outside]:
    """Streams and groups, and the broker's part played."""
    await ensure_principal(bus, AGENT)
    world = Outside(bus)
    broker = asyncio.ensure_future(world.answer_outbox())
    try:
        yield world
    finally:
        broker.cancel()
        await asyncio.wait([broker])


@asynccontextmanager
async def running(config: HarnessConfig, bus: Bus) -> AsyncIterator[Harness]:
    """A harness for the length of the block; its failure fails the block's end."""
    harness = Harness(config, bus)
    task = asyncio.ensure_future(harness.run())
    try:
        yield harness
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        finally:
            await harness.aclose()
