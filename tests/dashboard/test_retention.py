"""`/api/v1/retention` over the in-memory bus and a real server; the supervisor is played."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.dashboard.opened import opened

from hive_contracts import streams
from hive_contracts.agents import CommandDone
from hive_contracts.envelope import Envelope
from hive_contracts.retention import RetentionSwept, SweepRetention, Swept
from hive_runtime.bus import Bus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]

REPORT = RetentionSwept(
    at=datetime(2026, 1, 2, tzinfo=UTC),
    seconds=0.5,
    removed=3,
    bytes_freed=4096,
    errors=0,
    stores=(Swept(name="broker.sqlite", kept=5, removed=3, bytes_freed=4096),),
)


async def _play_supervisor(bus: Bus) -> None:
    """Answer one command."""
    reader = bus.reader()
    (entry,) = await reader.read_after({streams.COMMANDS_SUPERVISOR: "0-0"}, count=1, block_ms=10_000)
    command = Envelope.decode(entry.fields)
    report = REPORT.model_copy(update={"dry_run": command.payload(SweepRetention).dry_run})
    done = CommandDone(command=command.type, result=report.model_dump(mode="json"))
    await bus.append(streams.EVENTS, Envelope.of(done, source="supervisor", correlation_id=command.id))
    await reader.aclose()


def test_a_dry_run_is_asked_for_and_told(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            supervisor = asyncio.ensure_future(_play_supervisor(bus))
            reply = await hive.api.post("/api/v1/retention", json={"dry_run": True})
            await supervisor
            assert reply.status_code == 200
            report = reply.json()["report"]
            assert (report["dry_run"], report["removed"]) == (True, 3)
            assert report["stores"][0]["name"] == "broker.sqlite"

    on_bus(scenario)


def test_the_last_report_is_shown_once_there_is_one(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            assert (await hive.api.get("/api/v1/retention")).json() == {"report": None}
            await bus.hash_set(streams.RETENTION, {streams.REPORT_FIELD: REPORT.model_dump_json()})
            assert (await hive.api.get("/api/v1/retention")).json()["report"]["bytes_freed"] == 4096

    on_bus(scenario)


def test_a_sweep_must_say_whether_it_is_one(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            for body in ({}, {"dry_run": "perhaps"}, {"dry_run": True, "dry": True}):
                assert (await hive.api.post("/api/v1/retention", json=body)).status_code in {400, 422}
            assert await bus.depth(streams.COMMANDS_SUPERVISOR) == 0

    on_bus(scenario)
