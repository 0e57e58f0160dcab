"""The agent's state: kept here, published on change, mirrored in the state hash. Nobody else derives it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from hive_contracts import streams
from hive_contracts.agents import AgentState, AgentStateChanged, ModelView
from hive_contracts.errors import Unavailable
from hive_harness.config import HarnessConfig
from hive_harness.live import LivePublisher, bounded
from hive_runtime import VERSION
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus

MAX_DETAIL = 500


class StatusKeeper:
    """Owns the `state` field of `hive:{<agent>}:state`. `run` mirrors the newest state until cancelled."""

    def __init__(self, config: HarnessConfig, bus: Bus, live: LivePublisher) -> None:
        self._agent = config.agent
        self._bus = bus
        self._live = live
        self._changed = asyncio.Event()
        self._most_unread = 0
        self.state = AgentState(
            agent=config.agent,
            since=datetime.now(UTC),
            engine=config.engine,
            model=ModelView(active=config.model),
            effort=config.effort or "",
            harness_version=VERSION,
        )
        self._announce()

    def update(self, **changes: Any) -> None:
        """Publishes when something changed. `since` is the time of the last change of `state` itself."""
        if "detail" in changes:
            changes["detail"] = bounded(self._live.redact(changes["detail"]), MAX_DETAIL)
        if changes.get("state", self.state.state) is not self.state.state:
            changes["since"] = datetime.now(UTC)
        new = self.state.model_copy(update=changes)
        if new != self.state:
            self.state = new
            self._announce()

    async def count_unread(self) -> int:
        """How many messages the inbox holds, those of a running turn among them; the last known number when Redis
        is away."""
        try:
            unread = await self._bus.depth(streams.inbox(self._agent))
        except Unavailable:
            return self.state.unread
        self._most_unread = max(self._most_unread, unread)
        if unread != self.state.unread:
            self.state = self.state.model_copy(update={"unread": unread})
            self._changed.set()
        return unread

    def take_most_unread(self) -> int:
        """The most that was counted since the last call.

        Nothing but the harness's acknowledgements makes an inbox shorter, so that counting before each finds the top.
        """
        most, self._most_unread = self._most_unread, 0
        return max(most, self.state.unread)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await persist(self.mirror)

    async def mirror(self) -> None:
        fields = {streams.STATE_FIELD: self.state.model_dump_json()}
        await self._bus.hash_set(streams.state(self._agent), fields)

    def _announce(self) -> None:
        self._live.publish(AgentStateChanged(state=self.state))
        self._changed.set()
