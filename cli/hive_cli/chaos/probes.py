"""When a component works again: each probe asks it for something that only it can do, and changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hive_cli.chaos.stage import Stage
from hive_cli.client import HiveClient
from hive_contracts import streams
from hive_contracts.agents import AgentState, StartAgent, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError
from hive_contracts.ids import new_id
from hive_contracts.messages import SendMessage
from hive_contracts.names import OPERATOR
from hive_contracts.turns import TurnEnded
from hive_runtime.backoff import persist
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import RedisBus

NOBODY: Final = "chaos-nobody"
LOOK_S: Final = 0.02
ASK_AGAIN_MS: Final = 3_000

Probe = Callable[[], Awaitable[None]]


class Probes:
    """Each returns when its component works. Where it says so, it must be made before the kill."""

    def __init__(self, stage: Stage, bus: RedisBus) -> None:
        self._stage = stage
        self._bus = bus

    async def broker(self) -> None:
        """It refuses a message to nobody."""
        await self._answered(streams.outbox(OPERATOR), SendMessage(to=NOBODY, body="a probe"))

    async def supervisor(self) -> None:
        """It cannot start nobody."""
        await self._answered(streams.COMMANDS_SUPERVISOR, StartAgent(name=NOBODY))

    async def redis(self) -> None:
        while True:
            try:
                await self._bus.ping()
                return
            except HiveError:
                await asyncio.sleep(LOOK_S)

    async def dashboard(self) -> None:
        """It has seen Redis and can be worked with."""
        client = HiveClient(self._stage.api().address, "", timeout_s=2.0)
        while True:
            try:
                await asyncio.to_thread(client.get, "/readyz")
                return
            except HiveError:
                await asyncio.sleep(LOOK_S)

    async def thinking(self, agents: Sequence[str]) -> list[str]:
        """Those in a turn just now."""
        return [name for name in agents if _state_of(await self._fields(name)) is TurnState.THINKING]

    async def harness(self, agent: str) -> Probe:
        """Before the kill. Then: another one owns the inbox and has reported."""
        before = (await self._fields(agent)).get(streams.LEASE_FIELD)

        async def works() -> None:
            while True:
                fields = await self._fields(agent)
                if fields.get(streams.LEASE_FIELD) != before and _state_of(fields) is not None:
                    return
                await asyncio.sleep(LOOK_S)

        return works

    async def engine(self, agent: str) -> Probe | None:
        """Before the kill; None when the agent is in no turn. Then: a turn has ended well."""
        if _state_of(await self._fields(agent)) is not TurnState.THINKING:
            return None
        cursor = await persist(lambda: self._bus.last_id(streams.live(agent)))
        return lambda: self._seen(streams.live(agent), cursor, _is_good_end)

    async def _fields(self, agent: str) -> dict[str, str]:
        return await persist(lambda: self._bus.hash_all(streams.state(agent)))

    async def _answered(self, stream: str, payload: Payload) -> None:
        """Ask until there is an answer on `hive:events`."""
        key = f"probe-{new_id()}"
        question = Envelope.of(payload, source=OPERATOR, id=key)
        while True:
            cursor = await persist(lambda: self._bus.last_id(streams.EVENTS))
            await persist(lambda: self._bus.append(stream, question))
            try:
                async with asyncio.timeout(ASK_AGAIN_MS / 1000):
                    await self._seen(streams.EVENTS, cursor, lambda event: event.correlation_id == key)
                return
            except TimeoutError:
                continue

    async def _seen(self, stream: str, cursor: str, wanted: Callable[[Envelope], bool]) -> None:
        reader = self._bus.reader()
        try:
            while True:
                try:
                    entries = await reader.read_after({stream: cursor}, count=500, block_ms=1000)
                except BusUnavailable:
                    await asyncio.sleep(LOOK_S)
                    continue
                for entry in entries:
                    cursor = entry.id
                    if wanted(_decoded(entry.fields)):
                        return
        finally:
            await reader.aclose()


def _decoded(fields: object) -> Envelope:
    try:
        return Envelope.decode(fields if isinstance(fields, dict) else {})
    except MalformedEnvelope:
        return Envelope(source="", type="")


def _is_good_end(event: Envelope) -> bool:
    return event.type == TurnEnded.TYPE and event.data.get("outcome") == TurnOutcome.OK


def _state_of(fields: dict[str, str]) -> TurnState | None:
    """None while the harness has not reported."""
    try:
        found = AgentState.model_validate_json(fields.get(streams.STATE_FIELD, "")).state
    except ValueError:
        return None
    return None if found is TurnState.STARTING else found
