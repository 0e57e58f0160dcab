"""Builds the dashboard's parts and owns their tasks: the web server, the event reader, and the operator's streams."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
import uvicorn

from hive_contracts import streams
from hive_contracts.names import OPERATOR
from hive_dashboard.alerts import Alerts
from hive_dashboard.app import create_app
from hive_dashboard.auth import Attempts, Auth, read_api_token
from hive_dashboard.commands import Answers, Commands
from hive_dashboard.config import DashboardSettings
from hive_dashboard.errors import AddressTaken
from hive_dashboard.events import Feed
from hive_dashboard.hub import Hub
from hive_dashboard.inbox import OperatorInbox
from hive_dashboard.kept import KeptSizes
from hive_dashboard.live import Live
from hive_dashboard.parts import Parts
from hive_dashboard.render import Renderer
from hive_dashboard.security import LOOPBACK_NAMES
from hive_dashboard.snapshot import Snapshots
from hive_dashboard.sparks import Sparks
from hive_dashboard.store import SessionStore
from hive_dashboard.store_alerts import AlertStore
from hive_dashboard.store_answers import Answers as KeptAnswers
from hive_dashboard.store_audit import AuditLog
from hive_dashboard.store_terminals import TerminalSwitches
from hive_dashboard.store_tokens import TokenStore
from hive_dashboard.terminal_sweep import TerminalSweep
from hive_dashboard.updates import Updates
from hive_runtime.backoff import persist
from hive_runtime.beat import beat
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.consumer import Consumer, consume
from hive_runtime.drain import Gauge
from hive_runtime.records.approvals import ApprovalReader
from hive_runtime.records.messages import MessageReader
from hive_runtime.records.threads import ThreadReader
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress
from hive_runtime.store_watch import BrokenStores

CONSUMER: Final = "dashboard"
MAX_SOCKET_MESSAGE: Final = 64 * 1024
SHUTDOWN_S: Final = 1
"""How long requests in progress may take once the dashboard is told to stop, in seconds. Streams end at once."""

log = structlog.get_logger()


async def run(config: DashboardSettings, data_dir: Path, address: RedisAddress) -> None:
    """Serve until cancelled. Raises `AddressTaken`, `SettingsError` and `StoreUnavailable` at start."""
    listener = listen(config.host, config.port)
    bus = RedisBus(address)
    dashboard = Dashboard(config, data_dir, bus)
    try:
        await dashboard.serve(listener)
    finally:
        dashboard.close()
        await bus.aclose()


class Dashboard:
    """`parts` are what requests work with; `work` keeps them true; `serve` does that and answers requests."""

    def __init__(
        self,
        config: DashboardSettings,
        data_dir: Path,
        bus: Bus,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus = bus
        self.parts = build(config, data_dir, bus, clock=clock)
        self._feed = Feed(
            bus,
            snapshots=self.parts.snapshots,
            live=self.parts.live,
            commands=self.parts.commands,
            metrics=self.parts.metrics,
            alerts=Alerts(self.parts.alerts),
        )
        self.app = create_app(self.parts)

    async def serve(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        log.info("dashboard started", host=host, port=port)
        for warning in _network_warnings(self.parts.config):
            log.warning("open to the network", warning=warning)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.work())
            group.create_task(self._serve_http(listener))

    async def work(self) -> None:
        """Everything but the web server, until cancelled."""
        parts = self.parts
        async with asyncio.TaskGroup() as group:
            group.create_task(parts.snapshots.run())
            group.create_task(beat(self._bus, "dashboard"))
            group.create_task(parts.store.tell_when_replaced(self._bus))
            group.create_task(self._feed.run())
            group.create_task(TerminalSweep(self._bus, parts.terminals, parts.snapshots).run())
            group.create_task(self._consume(streams.control(OPERATOR), parts.commands.handle_control))
            group.create_task(self._serve_inbox())

    def close(self) -> None:
        self.parts.store.close()

    async def _serve_inbox(self) -> None:
        await self.parts.inbox.take_lease()
        await self._consume(streams.inbox(OPERATOR), self.parts.inbox.handle)

    async def _consume(self, stream: str, handle: Callable[[list[Entry]], Awaitable[None]]) -> None:
        async def remake() -> None:
            await ensure_principal(self._bus, OPERATOR)

        await persist(remake)
        consumer = Consumer(self._bus, stream, streams.GROUP_HARNESS, CONSUMER, remake=remake)
        try:
            await consume(consumer, handle)
        finally:
            await consumer.aclose()

    async def _serve_http(self, listener: socket.socket) -> None:
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=MAX_SOCKET_MESSAGE,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        server = Server(config)
        task = asyncio.ensure_future(server.serve([listener]))
        try:
            await asyncio.shield(task)
        finally:
            self.parts.hub.close()
            server.should_exit = True
            await task


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: signals are the run loop's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build(config: DashboardSettings, data_dir: Path, bus: Bus, *, clock: Callable[[], datetime]) -> Parts:
    session_s = config.session_days * 24 * 3600
    api_token = read_api_token(data_dir / "secrets" / "api-token")
    store = SessionStore(data_dir / "dashboard.sqlite", session_s=session_s, clock=lambda: clock().timestamp())
    tokens = TokenStore(store.base, clock=lambda: clock().timestamp())
    messages = MessageReader(data_dir / "broker.sqlite")
    threads = ThreadReader(data_dir / "broker.sqlite")
    approvals = ApprovalReader(data_dir / "approvals.sqlite")
    alerts = AlertStore(store.base)
    hub, renderer = Hub(), Renderer(clock=clock)
    network, broken = _network_warnings(config), BrokenStores(data_dir)
    return Parts(
        config=config,
        data_dir=data_dir,
        bus=bus,
        store=store,
        tokens=tokens,
        audit=AuditLog(store.base),
        alerts=alerts,
        answers=KeptAnswers(store.base, clock=lambda: clock().timestamp()),
        terminals=TerminalSwitches(store.base, clock=lambda: clock().timestamp()),
        auth=Auth(
            store,
            tokens=tokens,
            attempts=Attempts(lambda: clock().timestamp()),
            api_token=api_token,
            port=config.port,
            session_s=session_s,
        ),
        snapshots=Snapshots(
            bus,
            messages,
            threads=threads,
            approvals=approvals,
            alerts=alerts,
            watcher=Updates(hub, renderer),
            gauge=Gauge(bus, data_dir),
            sparks=Sparks(data_dir, clock),
            clock=clock,
            standing=lambda: (*network, *broken.warnings()),
        ),
        hub=hub,
        live=Live(hub, renderer),
        commands=Commands(bus, Answers(), answer_s=config.answer_timeout_s, command_s=config.command_timeout_s),
        inbox=OperatorInbox(bus, messages),
        messages=messages,
        threads=threads,
        approvals=approvals,
        renderer=renderer,
        clock=clock,
        kept=KeptSizes(data_dir),
    )


def _network_warnings(config: DashboardSettings) -> tuple[str, ...]:
    if config.fronted or config.host in LOOPBACK_NAMES:
        return ()
    return (f"The dashboard listens on {config.host}, open to the network: put a server with TLS in front of it.",)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `AddressTaken`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise AddressTaken(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with `hive up --port N`"
        ) from error
    listener.setblocking(False)
    return listener
