"""When sweeps run, and who hears of them, with a whole supervisor over a real server."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.supervisor.retention_rig import put_events
from tests.supervisor.test_service import Hive, on_hive, supervisor
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.envelope import Envelope
from hive_contracts.retention import RetentionSwept, SweepRetention
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.runtimes.memory import MemoryRuntime

EVENTS = "agents/gone/events.sqlite"


def _rows(data_dir: Path) -> int:
    with closing(sqlite3.connect(data_dir / EVENTS)) as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


@pytest.mark.slow
def test_a_supervisor_sweeps_soon_after_its_start_and_again(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = RetentionSettings(first_s=0.1, every_s=1)
        async with asyncio.timeout(30), supervisor(tmp_path, redis.address, MemoryRuntime(), settings) as hive:
            first = await hive.fact(RetentionSwept)
            report = first.payload(RetentionSwept)
            assert not report.dry_run
            assert "no such store" in next(item.error for item in report.stores if item.name == "broker.sqlite")
            assert all(item.removed or item.error for item in (*report.stores, *report.streams))
            assert (await hive.fact(RetentionSwept)).id != first.id
            whole = (await hive.bus.hash_all(streams.RETENTION))[streams.REPORT_FIELD]
            assert len(RetentionSwept.model_validate_json(whole).streams) > 5

    asyncio.run(scenario())


def test_a_command_is_answered_with_what_would_go_and_then_it_goes(redis: RedisServer, tmp_path: Path) -> None:
    put_events(tmp_path / EVENTS, 50, age_days=8)

    async def scenario(hive: Hive) -> None:
        done = (await hive.command(SweepRetention(dry_run=True))).payload(CommandDone)
        told = RetentionSwept.model_validate(done.result)
        assert (done.command, told.dry_run, told.removed) == ("retention.sweep", True, 50)
        assert _rows(tmp_path) == 50
        assert await hive.bus.hash_all(streams.RETENTION) == {}
        await hive.bus.append(
            streams.COMMANDS_SUPERVISOR, Envelope.of(SweepRetention(), source="dashboard", id="sweep")
        )
        swept = (await hive.fact(RetentionSwept)).payload(RetentionSwept)
        assert [(item.name, item.removed) for item in swept.stores if item.removed] == [(EVENTS, 50)]
        done = (await hive.fact(CommandDone, correlation_id="sweep")).payload(CommandDone)
        assert RetentionSwept.model_validate(done.result).removed == 50
        assert _rows(tmp_path) == 0

    on_hive(redis, tmp_path, scenario)


def test_a_malformed_wish_is_refused(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario(hive: Hive) -> None:
        envelope = Envelope(source="dashboard", type=SweepRetention.TYPE, data={"dry_run": "perhaps"})
        await hive.bus.append(streams.COMMANDS_SUPERVISOR, envelope)
        answer = await hive.fact(CommandDone, CommandFailed, correlation_id=envelope.id)
        assert answer.payload(CommandFailed).code == "invalid"

    on_hive(redis, tmp_path, scenario)
