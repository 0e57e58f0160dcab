"""A harness and a real broker in this process: the test is the operator and every other agent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.broker.post import register
from tests.support.agent_rig import AGENT, Outside, config_for, of_type, running

from hive_broker.config import BrokerSettings
from hive_broker.service import Broker
from hive_contracts import streams
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.messages import SendMessage
from hive_contracts.questions import QuestionView
from hive_contracts.turns import TurnToolResult
from hive_harness.config import HarnessConfig
from hive_harness.service import Harness
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import MessageReader, MessageWriter
from hive_runtime.records.threads import ThreadReader


@dataclass(slots=True)
class World:
    """A hive of `AGENT`, whose harness is real, and bob; the test is the operator and bob's harness."""

    bus: MemoryBus
    outside: Outside
    path: Path
    harness: Harness | None = field(default=None)

    async def post(self, who: str, payload: Payload) -> None:
        await self.bus.append(streams.outbox(who), Envelope.of(payload, source=who))

    async def tell(self, *lines: str) -> dict[str, Any]:
        """A message of the operator with these lines, and the end of its turn."""
        await self.post("operator", SendMessage(to=AGENT, body="\n".join(lines)))
        return await self.outside.turn_end()

    def results(self) -> list[str]:
        """What tools have answered in the turns seen."""
        return [result.text for result in self.outside.events(TurnToolResult)]

    def open_to(self, name: str) -> list[QuestionView]:
        return ThreadReader(self.path).open_to(name)

    def inbox(self, name: str) -> list[str]:
        return [message.body for message in reversed(MessageReader(self.path).inbox(name))]


@asynccontextmanager
async def hive(config: HarnessConfig, directory: Path) -> AsyncIterator[World]:
    """`directory` is the broker's."""
    bus = MemoryBus()
    await register(bus, AGENT, "bob")
    async with brokered(bus, directory), running(config, bus) as harness:
        outside = Outside(bus)
        await outside.until(of_type("state.changed"))
        yield World(bus, outside, directory / "broker.sqlite", harness)


@asynccontextmanager
async def brokered(bus: MemoryBus, directory: Path) -> AsyncIterator[None]:
    messages = MessageWriter(directory / "broker.sqlite")
    broker = asyncio.create_task(Broker(BrokerSettings(), directory, bus, messages).run())
    try:
        yield
    finally:
        broker.cancel()
        await asyncio.wait([broker])
        messages.close()


def play(directory: Path, story: Callable[[World], Awaitable[None]], config: HarnessConfig | None = None) -> None:
    """With the scripted engine, unless `config` says otherwise."""

    async def main() -> None:
        async with asyncio.timeout(60), hive(config or config_for(directory), directory) as world:
            await story(world)

    asyncio.run(main())
