"""When sweeps run, and who is told: soon after the start, hourly with jitter, and whenever a command asks."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import CommandDone
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import HiveError, Refused
from hive_contracts.retention import RetentionSwept, SweepRetention
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_supervisor.fleet import SOURCE
from hive_supervisor.retention.sweep import Sweep, noteworthy

JITTER: Final = 0.1
"""Part of the interval by which a sweep may come earlier or later."""

MAX_WAITING: Final = 16
"""Sweeps asked for and not begun; one more is refused."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Request:
    """A command to sweep, to be answered."""

    command_id: str
    dry_run: bool


class Retention:
    """`run` owns all sweeps, one at a time; a command's is answered when it is done, so that no other command waits."""

    def __init__(self, bus: Bus, sweep: Sweep, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._bus = bus
        self._sweep = sweep
        self._clock = clock
        self._requests: asyncio.Queue[Request] = asyncio.Queue(MAX_WAITING)

    def request(self, command: Envelope) -> None:
        """Sweep when the one before is done, and answer on `hive:events`. Raises `MalformedEnvelope`, `Refused`."""
        wish = command.payload(SweepRetention)
        try:
            self._requests.put_nowait(Request(command.id, wish.dry_run))
        except asyncio.QueueFull:
            raise Refused(f"{MAX_WAITING} sweeps wait already; ask again when they are done") from None

    async def run(self) -> None:
        """Until cancelled; then a sweep in progress ends between two steps."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._sweep.config.first_s
        while True:
            request = await self._next_request(due)
            if request is None:
                due = loop.time() + self._sweep.config.every_s * random.uniform(1 - JITTER, 1 + JITTER)
            await self._carry_out(request)

    async def _next_request(self, due: float) -> Request | None:
        """None when the time for the regular sweep has come."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                return await self._requests.get()
        return None

    async def _carry_out(self, request: Request | None) -> None:
        dry_run = request is not None and request.dry_run
        report = await self._sweep.run(self._clock(), dry_run=dry_run)
        log.info(
            "retention swept",
            **report.model_dump(exclude={"stores", "streams", "at"}),
            stores=len(report.stores),
            streams=len(report.streams),
        )
        try:
            if not dry_run:
                await self._publish(report)
        except HiveError as error:
            log.warning("retention not told", code=error.code, reason=str(error))
        if request:
            result = report.model_dump(mode="json")
            fact = CommandDone(command=SweepRetention.TYPE, result=result)
            await persist(
                lambda: self._tell(fact, id=f"{request.command_id}:answer"[:128], correlation_id=request.command_id)
            )

    async def _publish(self, report: RetentionSwept) -> None:
        await self._bus.hash_set(streams.RETENTION, {streams.REPORT_FIELD: report.model_dump_json()})
        await self._tell(noteworthy(report))

    async def _tell(self, fact: Payload, **fields: str) -> None:
        await self._bus.append(streams.EVENTS, Envelope.of(fact, source=SOURCE, **fields))
