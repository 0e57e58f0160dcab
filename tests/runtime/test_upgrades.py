"""Stores of earlier versions are copied, then upgraded; what cannot work together says so."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_contracts import streams
from hive_contracts.agents import ServiceBeat
from hive_contracts.versions import Skew, skew
from hive_dashboard import store as dashboard_store
from hive_runtime import VERSION, beat
from hive_runtime.errors import SettingsError, StoreUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records import approvals, events, messages
from hive_runtime.store import Store
from hive_supervisor import store as supervisor_store

PREVIOUS = Path(__file__).with_name("previous")
STORES = {
    "broker": messages.MIGRATIONS,
    "events": events.MIGRATIONS,
    "approvals": approvals.MIGRATIONS,
    "supervisor": supervisor_store.MIGRATIONS,
    "dashboard": dashboard_store.MIGRATIONS,
}
STEPS = [(name, version) for name, migrations in STORES.items() for version in range(1, len(migrations))]


def schema_of(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c")
        return set(rows.fetchall())


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def made(path: Path, *scripts: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        for script in scripts:
            db.executescript(script)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("name", "version"), STEPS)
def test_a_store_of_any_version_is_copied_and_brought_to_the_newest(name: str, version: int, tmp_path: Path) -> None:
    migrations = STORES[name]
    old = made(tmp_path / "old.sqlite", *migrations[:version], f"PRAGMA user_version = {version}")
    before = schema_of(old)
    fresh = tmp_path / "fresh.sqlite"
    for path in (old, fresh):
        Store(path, migrations).close()
    assert schema_of(old) == schema_of(fresh)
    kept = tmp_path / f"old.sqlite.schema-{version}"
    assert version_of(kept) == version
    assert schema_of(kept) == before
    assert not list(tmp_path.glob("fresh.sqlite.schema-*"))


def test_only_the_newest_copy_is_kept_and_it_is_as_private_as_the_store(tmp_path: Path) -> None:
    migrations = STORES["approvals"]
    old = made(tmp_path / "old.sqlite", migrations[0], "PRAGMA user_version = 1")
    old.chmod(0o600)
    Store(old, migrations[:2]).close()
    Store(old, migrations[:3]).close()
    (kept,) = tmp_path.glob("old.sqlite.schema-*")
    assert kept.name.endswith("schema-2")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    migrations = STORES["approvals"]
    old = made(tmp_path / "old.sqlite", migrations[0], "PRAGMA user_version = 1")
    (tmp_path / "old.sqlite.schema-1.partial").write_text("half")
    Store(old, migrations).close()
    assert version_of(tmp_path / "old.sqlite.schema-1") == 1
    assert not (tmp_path / "old.sqlite.schema-1.partial").exists()


def test_without_room_for_the_copy_nothing_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations = STORES["approvals"]
    old = made(tmp_path / "old.sqlite", migrations[0], "PRAGMA user_version = 1")
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(StoreUnavailable, match="free some disk space"):
        Store(old, migrations)
    assert version_of(old) == 1


@pytest.mark.parametrize("name", STORES)
def test_the_stores_of_the_release_before_are_read_in_full(name: str, tmp_path: Path) -> None:
    path = made(tmp_path / f"{name}.sqlite", (PREVIOUS / f"{name}.sql").read_text())
    match name:
        case "broker":
            messages.MessageWriter(path).close()
            found = messages.MessageReader(path).get("m-aaaaaaaaaaaaaaaa")
            assert found
            assert (found.body, found.state.value, len(found.steps)) == ("written under the release before", "acked", 3)
        case "events":
            events.EventWriter(path).close()
            assert events.EventReader(path).get("1764500000010-0")
        case "approvals":
            approvals.ApprovalWriter(path).base.close()
            old = approvals.ApprovalReader(path).get("a-0123456789abcdef")
            assert old
            assert (old.agent, old.state.value, old.note) == ("ada", "denied", "not now")
        case "supervisor":
            store = supervisor_store.SupervisorStore(path, first_id=0x4000_0000)
            assert {(agent.name, agent.id_base) for agent in store.agents()} == {
                ("hm1nd", 1073807360),
                ("ada", 1073872896),
            }
            store.close()
        case _:
            dashboard_store.SessionStore(path, session_s=60, clock=lambda: 0.0).close()
            with closing(sqlite3.connect(path)) as db:
                assert db.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("0.4.0", "0.4.0", Skew.NONE),
        ("0.4.0", "0.4.7", Skew.TOLERATED),
        ("0.4.0", "0.5.0", Skew.TOLERATED),
        ("0.4.0", "0.6.0", Skew.REFUSED),
        ("1.0.0", "0.9.0", Skew.REFUSED),
        ("0.4.0rc1", "0.4", Skew.TOLERATED),
        ("0.4.0", "", Skew.TOLERATED),
    ],
)
def test_what_works_together(one: str, other: str, found: Skew) -> None:
    assert skew(one, other) is found
    assert skew(other, one) is found


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_version_that_a_container_tells_ends_anything(one: str, other: str) -> None:
    assert skew(one, other) is skew(other, one)


def beats(version: str, *, age_s: float = 0) -> ServiceBeat:
    now = datetime.now(UTC)
    return ServiceBeat(service="broker", pid=1, version=version, started_at=now, at=now - timedelta(seconds=age_s))


@pytest.mark.parametrize(("other", "refused"), [("99.0.0", True), (VERSION, False)])
def test_a_service_does_not_start_beside_one_that_is_too_far_from_it(
    other: str,
    refused: bool,  # noqa: FBT001
) -> None:
    async def live(bus: MemoryBus) -> None:
        while True:
            await bus.hash_set(streams.SERVICES, {"broker": beats(other).model_dump_json()})
            await asyncio.sleep(beat.LOOK_S / 2)

    async def scenario() -> None:
        bus = MemoryBus()
        await bus.hash_set(streams.SERVICES, {"broker": beats(other).model_dump_json()})
        living = asyncio.ensure_future(live(bus))
        try:
            await beat.refuse_skew(bus, "supervisor")
        finally:
            living.cancel()

    if refused:
        with pytest.raises(SettingsError, match=r"the broker at work is 99\.0\.0"):
            asyncio.run(scenario())
    else:
        asyncio.run(scenario())


@pytest.mark.parametrize("age_s", [60, beat.FRESH.total_seconds() - 1])
def test_a_service_starts_after_one_that_was_too_far_from_it_has_ended(age_s: float) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        await bus.hash_set(streams.SERVICES, {"broker": beats("99.0.0", age_s=age_s).model_dump_json()})
        await beat.refuse_skew(bus, "supervisor")
        await beat.refuse_skew(MemoryBus(), "supervisor")

    asyncio.run(scenario())
