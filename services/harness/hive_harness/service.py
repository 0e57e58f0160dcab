"""Builds the harness's parts and owns their tasks."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars

from hive_contracts import streams
from hive_contracts.agents import Engine, Role
from hive_contracts.errors import HiveError
from hive_contracts.ids import new_id
from hive_contracts.models import ModelChanged
from hive_harness.attachment import AttachmentFiles
from hive_harness.carried_out import CarriedOut
from hive_harness.clone import Clones
from hive_harness.compaction import Upkeep
from hive_harness.config import HarnessConfig
from hive_harness.configs import ConfigTools
from hive_harness.control import Control
from hive_harness.engine import EngineKind
from hive_harness.engines.claude import ClaudeEngine
from hive_harness.engines.scripted import ScriptedEngine
from hive_harness.figures import Levels
from hive_harness.http import Endpoint
from hive_harness.inbox import Inbox
from hive_harness.kept import KeptStore
from hive_harness.leftovers import end_leftovers
from hive_harness.life import Life, utc_now
from hive_harness.live import LivePublisher
from hive_harness.loop import TurnLoop
from hive_harness.manager import ManagerTools, Wishes
from hive_harness.model import ModelChoice
from hive_harness.notes import Notes
from hive_harness.outgoing import ANSWERS, Outgoing
from hive_harness.permissions import Permissions
from hive_harness.redaction import Redactor
from hive_harness.runner import EngineRunner
from hive_harness.session import SessionStore
from hive_harness.sign_in import SignIn
from hive_harness.status import StatusKeeper
from hive_harness.steering import Steering
from hive_harness.terminal import Terminal
from hive_harness.threads import ThreadTools
from hive_harness.tools import Toolbox
from hive_harness.turn import CurrentTurn
from hive_harness.watch import TurnLimits
from hive_harness.whole_texts import WholeTexts
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.errors import SettingsError

STOP_S: Final = 0.7
"""How long each step of the clean-up may take, in seconds: there are three, and 3 s in all."""

log = structlog.get_logger()


async def run(config: HarnessConfig, bus: Bus) -> None:
    """Serve until cancelled, or until another harness owns the inbox (`LeaseLost`)."""
    harness = Harness(config, bus)
    serving = asyncio.ensure_future(harness.run())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        await harness.let_turn_end()
        raise
    finally:
        serving.cancel()
        await asyncio.wait({serving})
        await harness.aclose()


class Harness:
    """`run` returns only by cancellation or error; then `aclose`."""

    def __init__(self, config: HarnessConfig, bus: Bus) -> None:
        settings = config.settings
        self._config = config
        self._bus = bus
        self._lease = new_id()
        self._kind = engine_kind(config)
        redactor = _redactor(config)
        self._live = LivePublisher(bus, config.agent, redactor=redactor, whole=WholeTexts(config.state_dir))
        self.status = StatusKeeper(config, bus, self._live)
        self._kept = KeptStore(config.own_dir)
        cost_day_usd = self._kept.cost_of_day(utc_now())
        self.status.update(cost_usd=self._kept.value.cost_usd, cost_day_usd=cost_day_usd)
        self._life = Life(self._kept, self.status)
        self._current = CurrentTurn(self._live, levels=Levels(self.status, Notes(config.state_dir)))
        self._inbox = Inbox(bus, config.agent, self._lease, self._current, self._live)
        self._outgoing = Outgoing(bus, config.agent, wait_s=settings.send_wait_s)
        self.control = Control(bus, config.agent, live=self._live, done=CarriedOut(config.own_dir))
        self.control.on_answers(ANSWERS, self._outgoing.take)
        self._model = ModelChoice(self.status, self._current)
        self.control.on_answers([ModelChanged], self._model.take)
        self._toolbox = toolbox = Toolbox(
            config, current=self._current, inbox=self._inbox, outgoing=self._outgoing, status=self.status
        )
        toolbox.add(*ThreadTools(self._current, self._outgoing).tools)
        if config.role is Role.MANAGER:
            wishes = Wishes(self._current, self._outgoing)
            toolbox.add(*ManagerTools(config.agent, wishes).tools, *ConfigTools(Clones(config), wishes).tools)
        permissions = Permissions(
            config.policy,
            current=self._current,
            outgoing=self._outgoing,
            status=self.status,
            wait_s=settings.permission_wait_s,
        )
        toolbox.add(permissions.tool)
        self._sign_in = SignIn(config.agent, self._kind, life=self._life, status=self.status, live=self._live)
        self._sign_in.attach(self.control)
        self._terminal = Terminal(config, bus)
        self._terminal.attach(self.control)
        self.endpoint = Endpoint(toolbox, self.status)
        redactor.learn(self.endpoint.token)
        self._files = AttachmentFiles(config)
        self.runner: EngineRunner | None = None

    async def run(self) -> None:
        bind_contextvars(agent=self._config.agent)
        home = self._config.state_dir / "home"
        home.mkdir(mode=0o700 if self._config.engine_uid is None else 0o770, exist_ok=True)
        self._files.write(self.endpoint.url, self.endpoint.token)
        await persist(self._take_lease)
        end_leftovers(home)
        await self._sign_in.check()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live.run())
            group.create_task(self.status.run())
            group.create_task(self.endpoint.serve())
            group.create_task(self._inbox.beat(self._config.settings.heartbeat_s))
            group.create_task(self._loop(group).run())
            group.create_task(self._terminal.run())
            group.create_task(self.control.run())
            log.info("harness started", engine=self._config.engine.value)

    async def let_turn_end(self) -> None:
        """Bounded: a turn that is about to end may do so, and its messages are acknowledged."""
        if turn := self._current.turn:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.settings.stop_grace_s):
                    await turn.settled.wait()

    async def aclose(self) -> None:
        """Bounded: ends the engine, writes the last events and the last state if Redis takes them."""
        if self.runner:
            await self.runner.close(working=True, patience_s=STOP_S)
        await self._sign_in.aclose()
        await self._terminal.aclose()
        await self._live.flush(limit_s=STOP_S)
        await self._mirror_once()
        await self._inbox.aclose()
        self.endpoint.close()
        self._files.remove()

    def _loop(self, group: asyncio.TaskGroup) -> TurnLoop:
        settings = self._config.settings
        session = SessionStore(self._config.own_dir, self._config.engine)
        self.status.update(session_id=session.id)
        self.runner = EngineRunner(
            self._kind,
            self._files.attach,
            session=session,
            current=self._current,
            live=self._live,
            group=group,
            limits=turn_limits(settings),
            in_hand=self._life.take_in_hand,
            compacts=self._life.engine_compacts,
            home=self._config.state_dir / "home",
            model=self._model.active,
            on_broken=lambda broken: self.status.update(broken_servers=broken),
        )
        self._steer(self.runner)
        upkeep = self._upkeep(self.runner)
        group.create_task(upkeep.run())
        return TurnLoop(
            self._config,
            inbox=self._inbox,
            runner=self.runner,
            current=self._current,
            live=self._live,
            status=self.status,
            life=self._life,
            kept=self._kept,
            model=self._model,
            after_turn=upkeep.after_turn,
            retries=upkeep.retries,
        )

    def _steer(self, runner: EngineRunner) -> None:
        steering = Steering(
            current=self._current,
            life=self._life,
            inbox=self._inbox,
            runner=runner,
            status=self.status,
            limit_s=self._config.settings.nap_limit_s,
        )
        steering.attach(self.control)
        self._toolbox.add(*steering.tools)

    def _upkeep(self, runner: EngineRunner) -> Upkeep:
        upkeep = Upkeep(
            self._config,
            self._kind,
            life=self._life,
            runner=runner,
            current=self._current,
            status=self.status,
            kept=self._kept,
            model=self._model,
        )
        upkeep.attach(self.control)
        return upkeep

    async def _take_lease(self) -> None:
        await self._bus.hash_set(streams.state(self._config.agent), {streams.LEASE_FIELD: self._lease})

    async def _mirror_once(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await self.status.mirror()
        except (HiveError, TimeoutError):
            return


def _redactor(config: HarnessConfig) -> Redactor:
    keys = (value for name, value in config.credentials.items() if not name.endswith("_URL"))
    return Redactor([*config.secrets, *keys])


def turn_limits(settings: HarnessSettings) -> TurnLimits:
    return TurnLimits(
        turn_s=settings.turn_limit_s,
        silence_s=settings.silence_limit_s,
        tool_s=settings.tool_limit_s,
        tool_calls=settings.turn_tool_calls,
        tokens=settings.turn_tokens,
    )


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
