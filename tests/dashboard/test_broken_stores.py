"""Broken stores: every page says so, none crashes, and one may sign in again."""

import asyncio
from pathlib import Path

from tests.dashboard.opened import opened
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.stores import StoreReplaced
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import MessageWriter

GARBAGE = b"no database, not any more, and long enough to be one" * 99


def test_a_store_that_was_set_aside_is_a_warning_until_it_is_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "agents" / "ada").mkdir(parents=True)
        (tmp_path / "agents" / "ada" / "events.sqlite.broken-20260101T000000.000000Z").touch()
        async with opened(MemoryBus(), tmp_path, broker=False) as hive:
            await hive.dashboard.parts.snapshots.refresh()
            warnings = (await hive.api.get("/api/v1/status")).json()["warnings"]
            assert any(
                text.startswith("agents/ada/events.sqlite was broken and has been replaced") for text in warnings
            )

    asyncio.run(scenario())


def test_pages_stay_while_the_brokers_store_is_broken_and_when_it_is_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = tmp_path / "broker.sqlite"
        MessageWriter(store).close()
        async with opened(MemoryBus(), tmp_path, broker=False) as hive:
            await hive.sign_in()
            await hive.scene.agent("hm1nd")
            store.write_bytes(GARBAGE)
            await hive.dashboard.parts.snapshots.refresh()
            for path in ("/", "/agents/hm1nd", "/messages", "/questions", "/dead-letters"):
                answer = await hive.browser.get(path)
                assert answer.status_code in (200, 503), path
                assert "</html>" in answer.text
            assert (await hive.browser.get("/")).status_code == 200
            assert (await hive.api.get("/api/v1/messages")).json()["code"] == "store_unavailable"
            MessageWriter(store).close()
            await hive.dashboard.parts.snapshots.refresh()
            for path in ("/", "/agents/hm1nd", "/messages", "/questions", "/dead-letters"):
                assert (await hive.browser.get(path)).status_code == 200, path

    asyncio.run(scenario())


def test_messages_are_there_while_the_store_of_alerts_cannot_be_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            hive.dashboard.parts.store.close()
            await hive.scene.send("operator", "hm1nd", "are you there?")
            await until(lambda: [one.body for one in hive.dashboard.parts.snapshots.current.flow] == ["are you there?"])

    asyncio.run(scenario())


def test_a_broken_store_of_sessions_is_replaced_and_told_and_one_signs_in_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        async with opened(bus, tmp_path, broker=False) as hive:
            await hive.sign_in()
        (tmp_path / "dashboard.sqlite").write_bytes(GARBAGE)
        async with opened(bus, tmp_path, broker=False) as hive:
            await hive.sign_in()
            assert (await hive.browser.get("/")).status_code == 200
            assert (tmp_path / "dashboard.sqlite").stat().st_mode & 0o777 == 0o600
            reader = bus.reader()

            async def told() -> bool:
                entries = await reader.read_after({streams.EVENTS: "0-0"}, count=99, block_ms=0)
                return StoreReplaced.TYPE in [Envelope.decode(entry.fields).type for entry in entries]

            await eventually(told)

    asyncio.run(scenario())
