"""Builds the supervisor's parts and owns their tasks: a keeper for each agent, the commands, the registry."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hive_runtime.beat import beat
from hive_runtime.drain import Gauge
from hive_runtime.errors import StoreUnavailable
from hive_runtime.hive_id import hive_id
from hive_runtime.records.approvals import ApprovalWriter
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_trim import StreamTrimmer
from hive_runtime.store_watch import tell_when_replaced
from hive_supervisor.approvals.approvals import Approvals
from hive_supervisor.approvals.deployment import Deployment
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.commands import Commands
from hive_supervisor.configs.configs import Configs
from hive_supervisor.containers import MIB, Premises, agents_logs, socket_of
from hive_supervisor.fleet import SOURCE, Fleet
from hive_supervisor.id_ranges import Claim, claim
from hive_supervisor.logs import LogBounds
from hive_supervisor.principals import Principals
from hive_supervisor.quota import Quota
from hive_supervisor.recovery import BROUGHT_BACK, recover
from hive_supervisor.registry import Registry
from hive_supervisor.retention.relief import Relief
from hive_supervisor.retention.schedule import Retention
from hive_supervisor.retention.sweep import Sweep
from hive_supervisor.rotation import Rotation
from hive_supervisor.runtimes.choose import Choice, Place, choose
from hive_supervisor.server import Server
from hive_supervisor.store import SupervisorStore, ids_of
from hive_supervisor.wishes import Looks

DEPLOY_MARGIN_S: Final = 15.0
"""What a deployment may take beyond the start of the container, in seconds: the stop before it."""

log = structlog.get_logger()


class Ending:
    """What a signal means: SIGINT ends the whole hive, any other only this supervisor, for a restart or an upgrade."""

    def __init__(self) -> None:
        self.of_the_hive = False

    def told(self, number: signal.Signals) -> None:
        self.of_the_hive |= number is signal.SIGINT


async def run(premises: Premises, ending: Ending) -> None:
    """Serve until cancelled. The containers run on, unless the whole hive ends; what is wanted of them stays."""
    config, data_dir, address = premises.config, premises.data_dir, premises.address
    bus, admin = RedisBus(address, load_functions=True), RedisAdmin(address)
    ids = await asyncio.to_thread(_claim, premises)
    store = SupervisorStore(data_dir / "supervisor.sqlite", first_id=ids.first)
    choice = await asyncio.to_thread(choose, Place(data_dir, config, hive_id(data_dir)))
    runtime = choice.runtime
    runtime.warning = " ".join(filter(None, (runtime.warning, ids.clash)))
    try:
        await serve(premises, bus=bus, admin=admin, store=store, choice=choice, ending=ending)
    finally:
        await runtime.aclose()
        store.close()
        await bus.aclose()
        await admin.aclose()


def _claim(premises: Premises) -> Claim:
    """The user ids that agents get; only root can give them any."""
    wanted = premises.config.first_uid
    if os.geteuid() != 0:
        return Claim(wanted)
    try:
        given = ids_of(premises.data_dir / "supervisor.sqlite").values()
    except StoreUnavailable:
        return claim(hive_id(premises.data_dir), premises.data_dir, wanted, given=None)
    return claim(hive_id(premises.data_dir), premises.data_dir, wanted, given=given)


async def serve(
    premises: Premises,
    *,
    bus: RedisBus,
    admin: RedisAdmin,
    store: SupervisorStore,
    choice: Choice,
    ending: Ending,
) -> None:
    runtime = choice.runtime
    principals = Principals(admin, bus, premises.data_dir / "secrets")
    await recover(store, bus)
    registry = Registry(bus, premises.config, choice, premises.data_dir)
    fleet = Fleet(premises, bus=bus, store=store, runtime=runtime, principals=principals, registry=registry)
    socket = socket_of(premises.address) if os.geteuid() == 0 else None
    server = Server(bus, admin, principals=principals, fleet=fleet, socket=socket)
    log.info("supervisor started", runtime=runtime.name, reason=choice.reason, isolation=runtime.isolation)
    try:
        with closing(ApprovalWriter(premises.data_dir / "approvals.sqlite")) as book:
            parts = Parts(premises, bus, admin, store, principals, fleet, server, Looks(bus, runtime), book)
            await _keep_all(parts)
    finally:
        if ending.of_the_hive:
            await fleet.stop_all()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the tasks of a supervisor stand on."""

    premises: Premises
    bus: RedisBus
    admin: RedisAdmin
    store: SupervisorStore
    principals: Principals
    fleet: Fleet
    server: Server
    looks: Looks
    book: ApprovalWriter

    def names(self) -> list[str]:
        """Of all agents."""
        return [agent.name for agent in self.store.agents()]


async def _keep_all(parts: Parts) -> None:
    """Every task of the supervisor, until one fails or it is cancelled."""
    await parts.server.restore()
    async with aclosing(StreamTrimmer(parts.premises.address)) as trimmer, asyncio.TaskGroup() as group:
        for work in (*_answering(parts, trimmer), *_upkeep(parts, trimmer), parts.fleet.run()):
            group.create_task(work)


def _answering(parts: Parts, trimmer: StreamTrimmer) -> Iterator[Coroutine[Any, Any, None]]:
    """What does as it is told: approvals, deployments and commands, and the slow ones among these."""
    premises, bus, fleet = parts.premises, parts.bus, parts.fleet
    config, data_dir = premises.config, premises.data_dir
    deployment = Deployment(fleet, timeout_s=config.start_timeout_s + DEPLOY_MARGIN_S)
    ledger, configs = Ledger(parts.book, bus), Configs(data_dir / "configs", fleet, parts.book)
    approvals = Approvals(ledger, configs, fleet, approved=deployment.add, ttl_s=config.approval_ttl_s)
    fleet.attend(configs, approvals.purged)
    retention = Retention(bus, Sweep(premises.retention, data_dir, trimmer, agents=parts.names))
    journal, wait_s = data_dir / "rotation.json", config.rotate_turn_wait_s
    rotation = Rotation(bus, fleet, parts.principals, journal=journal, turn_wait_s=wait_s)
    commands = Commands(
        bus=bus,
        store=parts.store,
        fleet=fleet,
        retention=retention,
        rotation=rotation,
        answering=(parts.looks, approvals),
        spawned=approvals.note_spawn,
    )
    yield from (approvals.run(), deployment.run(ledger, configs), commands.run(), rotation.run(), retention.run())


def _upkeep(parts: Parts, trimmer: StreamTrimmer) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on whatever is asked for."""
    premises, bus = parts.premises, parts.bus
    config, data_dir = premises.config, premises.data_dir
    quota = Quota(config, parts.admin, trimmer, principals=parts.principals, agents=parts.names, host=parts.fleet)
    yield beat(bus, "supervisor")
    yield parts.server.watch()
    yield tell_when_replaced(parts.store.base, bus, source=SOURCE, brought_back=BROUGHT_BACK)
    yield quota.run()
    yield Relief(Gauge(bus, data_dir), trimmer, premises.retention).run()
    yield LogBounds(agents_logs(data_dir), config.limit_log_mb * MIB).run()
