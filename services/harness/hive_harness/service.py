"""Builds the harness's parts and owns their tasks."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import Engine
from hive_contracts.errors import HiveError
from hive_contracts.ids import new_id
from hive_harness.attachment import AttachmentFiles
from hive_harness.config import HarnessConfig
from hive_harness.engine import EngineKind
from hive_harness.engines.claude import ClaudeEngine
from hive_harness.engines.scripted import ScriptedEngine
from hive_harness.http import Endpoint
from hive_harness.inbox import Inbox
from hive_harness.journal import Journal
from hive_harness.leftovers import end_leftovers
from hive_harness.live import LivePublisher
from hive_harness.loop import TurnLoop
from hive_harness.outgoing import Outgoing
from hive_harness.runner import EngineRunner
from hive_harness.session import SessionStore
from hive_harness.status import StatusKeeper
from hive_harness.threads import ThreadTools
from hive_harness.tools import Toolbox
from hive_harness.turn import CurrentTurn
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.errors import SettingsError

STOP_S: Final = 0.7
"""How long each step of the clean-up may take, in seconds: there are three, and 3 s in all."""

log = structlog.get_logger()


async def run(config: HarnessConfig, bus: Bus) -> None:
    """Serve until cancelled, or until another harness owns the inbox (`LeaseLost`)."""
    harness = Harness(config, bus)
    try:
        await harness.run()
    finally:
        await harness.aclose()


class Harness:
    """`run` returns only by cancellation or error; then `aclose`."""

    def __init__(self, config: HarnessConfig, bus: Bus) -> None:
        settings = config.settings
        self._config = config
        self._bus = bus
        self._lease = new_id()
        self._kind = engine_kind(config)
        self._live = LivePublisher(bus, config.agent)
        self.status = StatusKeeper(config, bus, self._live)
        self._current = CurrentTurn(self._live)
        self._inbox = Inbox(bus, config.agent, self._lease, self._current)
        self._outgoing = Outgoing(bus, config.agent, wait_s=settings.send_wait_s)
        toolbox = Toolbox(config, current=self._current, inbox=self._inbox, outgoing=self._outgoing, status=self.status)
        toolbox.add(*ThreadTools(self._current, self._outgoing).tools)
        self.endpoint = Endpoint(toolbox, self.status)
        self._files = AttachmentFiles(config.run_dir)
        self.runner: EngineRunner | None = None

    async def run(self) -> None:
        home = self._config.state_dir / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        self._files.write(self.endpoint.url, self.endpoint.token)
        await persist(self._take_lease)
        end_leftovers(home)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live.run())
            group.create_task(self.status.run())
            group.create_task(self._outgoing.listen())
            group.create_task(self.endpoint.serve())
            group.create_task(self._loop(group).run())
            log.info("harness started", agent=self._config.agent, engine=self._config.engine.value)

    async def aclose(self) -> None:
        """Bounded: ends the engine, writes the last events and the last state if Redis takes them."""
        if self.runner:
            await self.runner.close(working=True, patience_s=STOP_S)
        await self._live.flush(limit_s=STOP_S)
        await self._mirror_once()
        await self._inbox.aclose()
        self.endpoint.close()
        self._files.remove()

    def _loop(self, group: asyncio.TaskGroup) -> TurnLoop:
        session = SessionStore(self._config.state_dir, self._config.engine)
        self.status.update(session_id=session.id)
        self.runner = EngineRunner(
            self._kind,
            self._files.attach,
            session=session,
            current=self._current,
            live=self._live,
            group=group,
            limit_s=self._config.settings.turn_limit_s,
        )
        return TurnLoop(
            self._config,
            inbox=self._inbox,
            runner=self.runner,
            current=self._current,
            live=self._live,
            status=self.status,
            journal=Journal(self._config.state_dir),
        )

    async def _take_lease(self) -> None:
        await self._bus.hash_set(streams.state(self._config.agent), {streams.LEASE_FIELD: self._lease})

    async def _mirror_once(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self.status.mirror()
        except (HiveError, TimeoutError):
            return


def engine_kind(config: HarnessConfig) -> EngineKind:
    """Raises `SettingsError`."""
    match config.engine:
        case Engine.CLAUDE:
            return ClaudeEngine(config, _program(config.claude))
        case Engine.SCRIPTED:
            return ScriptedEngine(config)


def _program(path: Path | None) -> Path:
    if path is None or not path.exists():
        raise SettingsError(f"there is no claude program at {path}; `hive setup claude` installs it")
    return path
