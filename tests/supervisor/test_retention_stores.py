"""The sweep over stores: ages and caps, broken stores, and a sweep that is killed at each of its steps."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event, Timer

import pytest
from tests.supervisor.retention_rig import (
    NOW,
    Hive,
    account,
    message,
    ms,
    put_events,
    put_messages,
    put_turns,
    question,
    reminder,
)
from tests.support.redis_server import RedisServer

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_contracts.messages import MessageState
from hive_contracts.questions import QuestionState
from hive_runtime.process import die_with_parent
from hive_runtime.records.approvals import AgentFiles, ApprovalReader, ApprovalWriter, StoredDiff
from hive_runtime.records.events import EventReader
from hive_runtime.records.messages import MIGRATIONS, MessageReader, MessageWriter
from hive_runtime.records.outdated import outdated_events, outdated_messages
from hive_runtime.records.stats import StatsReader
from hive_runtime.records.threads import ThreadWriter
from hive_runtime.store import Store
from hive_runtime.store_sweep import LOG_LIMIT, Pace, sweep_store
from hive_supervisor.store import Answer, SupervisorStore


@pytest.fixture
def hive(redis: RedisServer, tmp_path: Path) -> Hive:
    made = Hive(tmp_path, redis, agents=("ada",))
    made.make_stores()
    return made


def test_events_go_by_age_and_then_down_to_the_newest(hive: Hive, tmp_path: Path) -> None:
    path = tmp_path / "agents/ada/events.sqlite"
    put_events(path, 500, age_days=8)
    put_events(path, 2500, age_days=6)
    swept = account(hive.sweep().stores, "agents/ada/events.sqlite")
    assert (swept.kept, swept.removed, swept.error) == (2000, 1000, "")
    kept = EventReader(path).page(limit=5000)
    assert [event.id for event in kept] == [f"{ms(6)}-{seq}" for seq in range(500, 2500)]


def test_an_old_event_among_the_newest_goes_and_does_not_count(hive: Hive, tmp_path: Path) -> None:
    hive.settings["event_rows"] = 3
    path = tmp_path / "agents/ada/events.sqlite"
    put_events(path, 5, age_days=1)
    put_events(path, 2, age_days=30)
    hive.sweep()
    assert [event.id for event in EventReader(path).page()] == [f"{ms(1)}-{seq}" for seq in (2, 3, 4)]


def test_diffs_of_approvals_resolved_long_ago_go_and_the_approvals_stay(hive: Hive, tmp_path: Path) -> None:
    writer = ApprovalWriter(tmp_path / "approvals.sqlite")
    diffs = [StoredDiff(kind, "", "+ text") for kind in (BaseKind.RUNNING, BaseKind.LAST_APPROVED)]
    asked = {
        "a-old": (91, ApprovalState.DENIED),
        "a-late": (89, ApprovalState.DENIED),
        "a-approved": (91, ApprovalState.APPROVED),
        "a-waits": (0, ApprovalState.PENDING),
    }
    for name, (age_days, state) in asked.items():
        approval = _approval(name)
        writer.add(approval, diffs, AgentFiles(None, "after"))
        if state is not ApprovalState.PENDING:
            writer.move(approval, state, at=NOW - timedelta(days=age_days))
    writer.close()
    swept = account(hive.sweep().stores, "approvals.sqlite")
    reader = ApprovalReader(tmp_path / "approvals.sqlite")
    assert (swept.removed, swept.kept, swept.error) == (2, 6, "")
    assert [one.id for one in reader.everything() if not reader.diffs(one.id)] == ["a-old"]
    assert reader.agent_files("a-old") == AgentFiles(None, "after")


def _approval(name: str) -> ApprovalView:
    asked_at = NOW - timedelta(days=100)
    return ApprovalView(
        id=name,
        kind=ApprovalKind.APPLY_COMMIT,
        agent="ada",
        requester="hm1nd",
        state=ApprovalState.PENDING,
        requested_at=asked_at,
        expires_at=asked_at + timedelta(days=7),
    )


def test_messages_go_when_acked_long_ago_and_their_steps_with_them(hive: Hive, tmp_path: Path) -> None:
    writer = MessageWriter(tmp_path / "broker.sqlite")
    put_messages(writer, [message(1, age_days=40)], state=MessageState.ACKED, age_days=31)
    lately = put_messages(writer, [message(2, age_days=40)], state=MessageState.ACKED, age_days=29)
    undone = put_messages(writer, [message(3, age_days=900)])
    failed = put_messages(writer, [message(4, age_days=900)], state=MessageState.FAILED, age_days=900)
    swept = account(hive.sweep().stores, "broker.sqlite")
    writer.close()
    assert (swept.kept, swept.removed, swept.error) == (3, 1, "")
    found = MessageReader(tmp_path / "broker.sqlite").recent()
    assert [one.id for one in found] == [*failed, *undone, *lately]
    with sqlite3.connect(tmp_path / "broker.sqlite") as db:
        assert {row[0] for row in db.execute("SELECT message_id FROM steps")} == {*failed, *undone, *lately}
    db.close()


def test_each_recipient_has_a_cap_of_its_own_and_undone_messages_do_not_count(hive: Hive, tmp_path: Path) -> None:
    hive.settings["messages_per_recipient"] = 3
    writer = MessageWriter(tmp_path / "broker.sqlite")
    undone = put_messages(writer, [message(number) for number in range(5)])
    acked = put_messages(writer, [message(10 + n) for n in range(6)], state=MessageState.ACKED)
    others = put_messages(writer, [message(n, "lin") for n in range(2)], state=MessageState.ACKED)
    assert account(hive.sweep().stores, "broker.sqlite").removed == 3
    writer.close()
    reader = MessageReader(tmp_path / "broker.sqlite")
    assert [one.id for one in reader.inbox("ada")][::-1] == [*undone, *acked[3:]]
    assert [one.id for one in reader.inbox("lin")][::-1] == others


def test_a_recipient_that_lies_about_the_time_cannot_make_its_mail_go(hive: Hive, tmp_path: Path) -> None:
    writer = MessageWriter(tmp_path / "broker.sqlite")
    put_messages(writer, [message(1, age_days=1)], state=MessageState.ACKED, age_days=900)
    writer.close()
    assert hive.sweep().removed == 0


def test_closed_questions_and_reminders_that_came_go_and_open_ones_never_do(hive: Hive, tmp_path: Path) -> None:
    store = Store(tmp_path / "broker.sqlite", MIGRATIONS)
    rows = ThreadWriter(store)
    for name, age, closed in (("open", 900, None), ("old", 900, 31), ("late", 900, 29), ("untold", 900, 31)):
        rows.ask(question(name, asked_at=ms(age), expires_at=ms(closed) if name == "untold" and closed else None))
        if closed and name != "untold":
            rows.close_question(name, QuestionState.ANSWERED, answerer="operator", closed_by="x", at=ms(closed))
    for name, age in (("waiting", -900), ("came", 31), ("came late", 29)):
        rows.set_reminder(reminder(name, due_at=ms(age), set_at=ms(900)))
    rows.set_reminder(reminder("cancelled", due_at=ms(-900), set_at=ms(31)))
    rows.cancel_reminder("cancelled", closed_by="x")
    rows.run_out(ms(31))
    assert [found.view.id for found in rows.untold_questions()] == ["untold"]
    rows.told("came")
    rows.run_out(ms(29))
    rows.told("came late")
    told = hive.sweep(dry_run=True)
    swept = account(hive.sweep().stores, "broker.sqlite")
    assert (swept.removed, swept.error) == (3, "")
    assert account(told.stores, "broker.sqlite").removed == 3
    with closing(sqlite3.connect(tmp_path / "broker.sqlite")) as db:
        assert [row[0] for row in db.execute("SELECT id FROM questions ORDER BY number")] == ["open", "late", "untold"]
        assert [row[0] for row in db.execute("SELECT id FROM reminders ORDER BY number")] == ["waiting", "came late"]
    store.close()


def test_figures_go_by_age_and_number_although_events_went_before(hive: Hive, tmp_path: Path) -> None:
    hive.settings["stat_rows"] = 25
    path = tmp_path / "agents/ada/events.sqlite"
    put_turns(path, 2, age_days=31)
    put_turns(path, 4, age_days=8)
    assert account(hive.sweep().stores, "agents/ada/events.sqlite").removed == 2 + 4 + 2 * 11 + (4 * 11 - 25)
    found = StatsReader(path).totals(NOW - timedelta(days=100))
    assert (found["turns"], sum(1 for _ in found)) == (2, 11)


def test_an_older_store_without_figures_is_swept_too(hive: Hive, tmp_path: Path) -> None:
    path = tmp_path / "agents/gone/events.sqlite"
    put_events(path, 5, age_days=8)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE stats")
    swept = account(hive.sweep().stores, "agents/gone/events.sqlite")
    assert (swept.removed, swept.error) == (5, "")


def test_old_answers_of_commands_are_forgotten(hive: Hive, tmp_path: Path) -> None:
    store = SupervisorStore(tmp_path / "supervisor.sqlite")
    with store.unit() as unit:
        unit.remember("old", Answer(), NOW - timedelta(days=31))
        unit.remember("new", Answer(), NOW - timedelta(days=29))
    assert account(hive.sweep().stores, "supervisor.sqlite").removed == 1
    assert store.answer("old") is None
    assert store.answer("new") == Answer()
    store.close()


def test_stores_of_agents_that_nobody_knows_are_swept(hive: Hive, tmp_path: Path) -> None:
    put_events(tmp_path / "agents/gone/events.sqlite", 5, age_days=8)
    assert account(hive.sweep().stores, "agents/gone/events.sqlite").removed == 5


@pytest.mark.slow
def test_the_file_is_given_back(hive: Hive, tmp_path: Path) -> None:
    path = tmp_path / "agents/ada/events.sqlite"
    put_events(path, 3000, age_days=8, text="x" * 1000)
    before = path.stat().st_size
    swept = account(hive.sweep().stores, "agents/ada/events.sqlite")
    assert path.stat().st_size < before / 20
    assert swept.bytes_freed == before - path.stat().st_size


@pytest.mark.slow
def test_broken_missing_and_locked_stores_are_told_and_the_others_are_swept(hive: Hive, tmp_path: Path) -> None:
    for name in ("broken", "empty", "folder", "link", "locked", "well"):
        (tmp_path / "agents" / name).mkdir(parents=True)
    put_events(tmp_path / "agents/well/events.sqlite", 5, age_days=8)
    put_events(tmp_path / "agents/locked/events.sqlite", 5, age_days=8)
    (tmp_path / "agents/broken/events.sqlite").write_bytes(b"not a store at all, " * 500)
    (tmp_path / "agents/empty/events.sqlite").touch()
    (tmp_path / "agents/folder/events.sqlite").mkdir()
    (tmp_path / "agents/link/events.sqlite").symlink_to(tmp_path / "agents/well/events.sqlite")
    holder = sqlite3.connect(tmp_path / "agents/locked/events.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    report = hive.sweep()
    holder.close()
    errors = {item.name.split("/")[1]: item.error for item in report.stores if item.name.startswith("agents/")}
    assert "not a database" in errors["broken"]
    assert "no such table" in errors["empty"]
    assert "no such store" in errors["folder"] == errors["link"] == errors["ada"]
    assert "locked" in errors["locked"]
    assert errors["well"] == ""
    assert account(report.stores, "agents/well/events.sqlite").removed == 5
    assert report.errors == 6


def test_a_corrupt_page_is_told(hive: Hive, tmp_path: Path) -> None:
    path = tmp_path / "agents/ada/events.sqlite"
    put_events(path, 2000, age_days=8, text="x" * 500)
    content = bytearray(path.read_bytes())
    content[40 * 4096 : 200 * 4096] = b"\xff" * (160 * 4096)
    path.write_bytes(bytes(content))
    assert "malformed" in account(hive.sweep().stores, "agents/ada/events.sqlite").error


KILLED = """
import os, signal, sys
from pathlib import Path
from hive_runtime.records.outdated import outdated_events, outdated_messages
from hive_runtime.store_sweep import Pace, sweep_store

left = int(sys.argv[2])
def die_at_last(_seconds=0.0):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.0

outdated = {"messages": outdated_messages(acked_before=%(cutoff)d, newest=10),
            "events": outdated_events(before=%(cutoff)d, newest=10)}[sys.argv[3]]
print(sweep_store(Path(sys.argv[1]), outdated, pace=Pace(pause=die_at_last), dry_run=False).error)
"""


def _sweep_killed_at(path: Path, step: int, kind: str) -> int:
    script = KILLED % {"cutoff": ms(1)}
    command = [sys.executable, "-c", script, str(path), str(step), kind]
    return subprocess.run(command, check=False, preexec_fn=die_with_parent(signal.SIGKILL), timeout=30).returncode


@pytest.mark.slow
def test_a_sweep_killed_at_any_step_leaves_whole_rows_and_the_next_one_finishes(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    writer = MessageWriter(path)
    undone = set(put_messages(writer, [message(n, age_days=9) for n in range(50)]))
    put_messages(writer, [message(100 + n, age_days=9) for n in range(900)], state=MessageState.ACKED, age_days=8)
    kept = set(put_messages(writer, [message(2000 + n) for n in range(10)], state=MessageState.ACKED))
    step, counts = 0, [960]
    while _sweep_killed_at(path, step, "messages") == -signal.SIGKILL:
        step = min(step + 1, 3)
        with sqlite3.connect(path) as db:
            (messages,) = db.execute("SELECT count(*) FROM messages").fetchone()
            assert db.execute("SELECT count(*) FROM steps").fetchone() == (3 * messages - 50,)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert undone | kept <= {row[0] for row in db.execute("SELECT id FROM messages")}
        db.close()
        counts.append(messages)
    assert len(counts) > 3
    assert counts == sorted(counts, reverse=True)
    assert {one.id for one in MessageReader(path).recent(limit=1000)} == undone | kept
    writer.close()


@pytest.mark.slow
def test_a_sweep_that_died_before_the_file_was_given_back_is_made_good(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    put_events(path, 2000, age_days=8, text="x" * 500)
    before = path.stat().st_size
    step = 0
    while _sweep_killed_at(path, step, "events") == -signal.SIGKILL:
        step += 1
    assert path.stat().st_size < before / 10


@pytest.mark.slow
def test_a_stop_between_two_steps_ends_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    put_events(path, 2000, age_days=8)

    def pause(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_store(path, outdated_events(before=ms(1), newest=0), pace=Pace(pause), dry_run=False)
    assert 0 < len(EventReader(path).page(limit=5000)) < 2000
    assert sweep_store(path, outdated_events(before=ms(1), newest=0), pace=Pace(), dry_run=False).kept == 0


def test_a_writer_goes_on_while_its_store_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    writer = MessageWriter(path)
    put_messages(writer, [message(n, age_days=9) for n in range(500)], state=MessageState.ACKED, age_days=8)
    written: list[str] = []

    def pause(_: float) -> None:
        written.extend(put_messages(writer, [message(1000 + len(written))]))

    swept = sweep_store(path, outdated_messages(acked_before=ms(1), newest=0), pace=Pace(pause), dry_run=False)
    writer.close()
    assert (swept.removed, swept.kept) == (500, len(written))
    assert written
    assert os.access(path, os.W_OK)


def test_waiting_for_a_writer_is_no_part_of_how_long_a_step_held_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    put_events(path, 10, age_days=8)
    wrote = Event()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")

        def write() -> None:
            wrote.set()
            writer.execute("COMMIT")

        ending = Timer(0.3, write)
        ending.start()
        pace = Pace(clock=lambda: 60.0 if wrote.is_set() else 0.0)
        swept = sweep_store(path, outdated_events(before=ms(1), newest=0), pace=pace, dry_run=False)
        ending.join()
    assert (swept.removed, swept.held_s) == (10, 0.0)


@pytest.fixture
def long_log(tmp_path: Path) -> Iterator[Path]:
    """Of a store with ten outdated events, that nobody copies but the sweep."""
    path = tmp_path / "events.sqlite"
    put_events(path, 10, age_days=8)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("CREATE TABLE large (text TEXT)")
        for _ in range(3):
            writer.execute("INSERT INTO large SELECT ?", ("x" * LOG_LIMIT,))
        yield path.with_name("events.sqlite-wal")


def test_a_long_log_is_cut(long_log: Path) -> None:
    assert long_log.stat().st_size > 3 * LOG_LIMIT
    path = long_log.with_name("events.sqlite")
    sweep = sweep_store(path, outdated_events(before=ms(1), newest=0), pace=Pace(), dry_run=False)
    assert (sweep.removed, sweep.error) == (10, "")
    assert long_log.stat().st_size <= LOG_LIMIT


def test_a_log_that_a_reader_needs_is_left_as_it_is(long_log: Path) -> None:
    before, path = long_log.stat().st_size, long_log.with_name("events.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        sweep = sweep_store(path, outdated_events(before=ms(1), newest=0), pace=Pace(), dry_run=False)
    assert (sweep.removed, sweep.error) == (10, "")
    assert long_log.stat().st_size >= before
