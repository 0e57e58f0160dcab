"""Broken stores: every page says so, none crashes, and one may sign in again."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.dashboard.opened import opened
from tests.support.waiting import eventually, until

from hive_contracts import streams
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.envelope import Envelope
from hive_contracts.stores import StoreReplaced
from hive_contracts.turns import TurnText
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter
from hive_runtime.records.events import EventWriter
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


ROWS = {
    "broker.sqlite": "UPDATE messages SET state = 'teleported'",
    "approvals.sqlite": "UPDATE approvals SET state = 'teleported'",
    "agents/hm1nd/events.sqlite": "UPDATE events SET data = '{\"half'",
    "dashboard.sqlite": "UPDATE audit SET at = 9223372036854775807",
}
PAGES = (
    "/", "/messages", "/messages/{message}", "/questions", "/dead-letters", "/approvals", "/approvals/a-1",
    "/agents/hm1nd", "/agents/hm1nd?q=are", "/agents/hm1nd/stats", "/agents/hm1nd/turns?before={event}",
    "/agents/hm1nd/events/{event}", "/retention", "/settings", "/audit", "/settings/access", "/palette",
)  # fmt: skip
CALLS = (
    "status", "agents", "messages", "messages/{message}", "approvals", "approvals/a-1", "questions", "dead-letters",
    "agents/hm1nd/inbox", "agents/hm1nd/events", "agents/hm1nd/stats", "kept", "drafts", "alerts", "audit",
)  # fmt: skip


@pytest.mark.parametrize("store", ROWS)
def test_a_row_that_nobody_understands_is_said_where_it_is_needed_and_harms_nothing_else(
    store: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.scene.state("hm1nd")
            await hive.sees_agent("hm1nd")
            await hive.sign_in()
            await hive.scene.send("operator", "hm1nd", "are you there?")
            await until(lambda: hive.dashboard.parts.snapshots.current.flow)
            (message,) = hive.dashboard.parts.snapshots.current.flow
            about = {"message": message.id, "event": _asked_for_and_told(tmp_path)}
            _spoil(tmp_path / store, ROWS[store])
            await hive.dashboard.parts.snapshots.refresh()
            said = []
            for path in PAGES:
                answer = await hive.browser.get(path.format(**about))
                assert answer.status_code in (200, 503), (path, answer.text)
                if answer.status_code == 503:
                    assert "</html>" in answer.text
                    said.append(answer.text)
            for call in CALLS:
                answer = await hive.api.get(f"/api/v1/{call}".format(**about))
                assert answer.status_code in (200, 404, 503), (call, answer.text)
                if answer.status_code == 503:
                    assert answer.json()["code"] == "store_unavailable"
                    said.append(answer.text)
            assert said
            assert all(store in one and "holds what cannot be read" in one for one in said)
            assert (await hive.browser.get("/")).status_code == 200

    asyncio.run(scenario())


def _asked_for_and_told(data_dir: Path) -> str:
    """A request and an event, written as their services do; the event's id."""
    now = datetime.now(UTC)
    with closing(ApprovalWriter(data_dir / "approvals.sqlite")) as approvals:
        about = {"id": "a-1", "agent": "hm1nd", "requester": "hm1nd", "requested_at": now, "expires_at": now}
        approvals.add(ApprovalView(kind=ApprovalKind.APPLY_COMMIT, state=ApprovalState.PENDING, **about), "")
    with closing(EventWriter(data_dir / "agents" / "hm1nd" / "events.sqlite")) as writer:
        event = TurnText(turn_id="t-1", seq=1, text="are you?")
        writer.record([("1-1", Envelope.of(event, source="hm1nd"))], position="1-1")
    return "1-1"


def _spoil(store: Path, change: str) -> None:
    with closing(sqlite3.connect(store, timeout=20)) as db:
        assert db.execute(change).rowcount > 0
        db.commit()


def test_a_report_that_cannot_be_read_is_said_with_what_brings_a_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        async with opened(bus, tmp_path, broker=False) as hive:
            await hive.sign_in()
            for text in ("{half", '{"at": "then"}', "[]"):
                for key in (streams.RETENTION, streams.CREDENTIALS):
                    await bus.hash_set(key, {streams.REPORT_FIELD: text})
                page = await hive.browser.get("/retention")
                assert page.status_code == 200
                assert "the report of the last sweep cannot be read" in page.text
                assert "Sweep now" in page.text
                assert "Not swept yet" not in page.text
                for call in ("retention", "credentials"):
                    answer = await hive.api.get(f"/api/v1/{call}")
                    assert (answer.status_code, answer.json()["code"]) == (503, "unreadable")
                    assert "cannot be read" in answer.json()["detail"]
                assert (await hive.api.get("/metrics")).status_code == 200

    asyncio.run(scenario())
