"""The sweep over streams, on a real server: what is not done stays, what is done goes."""

from pathlib import Path

from tests.supervisor.retention_rig import Hive, account, ms, put_events
from tests.support.redis_server import RedisServer

from hive_contracts import streams

LIVE = streams.live("ada")
INBOX = streams.inbox("ada")


def test_of_a_live_stream_the_recorded_go_but_not_the_newest(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis)
    ids = hive.add(LIVE, 2345)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "$")
    swept = account(hive.sweep().streams, LIVE)
    assert hive.ids(LIVE) == ids[-2000:]
    assert (swept.kept, swept.removed, swept.error) == (2000, 345, "")
    assert swept.bytes_freed > 0


def test_what_was_not_recorded_stays_however_much_it_is(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 10})
    ids = hive.add(LIVE, 300)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", ids[49])
    hive.sweep()
    assert hive.ids(LIVE) == ids[50:]


def test_a_pending_entry_pins_itself_and_later_ones_only(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 0})
    ids = hive.add(LIVE, 300)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "0")
    hive.read(LIVE, "recorder", 300)
    hive.command("XACK", LIVE, "recorder", *ids[:120], *ids[121:])
    assert account(hive.sweep().streams, LIVE).removed == 120
    assert hive.ids(LIVE) == ids[120:]
    hive.command("XACK", LIVE, "recorder", ids[120])
    hive.sweep()
    assert hive.ids(LIVE) == []


def test_every_group_counts(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"fact_days": 0})
    ids = hive.add(streams.EVENTS, 50, age_days=1)
    hive.command("XGROUP", "CREATE", streams.EVENTS, "record", "$")
    hive.command("XGROUP", "CREATE", streams.EVENTS, "slow", ids[9])
    hive.sweep()
    assert hive.ids(streams.EVENTS) == ids[10:]


def test_a_stream_whose_reader_has_no_group_is_left_alone(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 0})
    names = [LIVE, INBOX, streams.outbox("ada"), streams.COMMANDS_SUPERVISOR, streams.control("ada"), streams.EVENTS]
    for name in names:
        hive.add(name, 3, age_days=1000)
        hive.command("XGROUP", "CREATE", name, "another", "$")
    assert hive.sweep().removed == 0
    assert [len(hive.ids(name)) for name in names] == [3] * 6


def test_leftovers_of_inbox_outbox_and_commands_go_and_undone_ones_stay(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis)
    readers = {INBOX: "harness", streams.outbox("ada"): "broker", streams.COMMANDS_SUPERVISOR: "supervisor"}
    for name, group in readers.items():
        ids = hive.add(name, 6, age_days=400)
        hive.command("XGROUP", "CREATE", name, group, "0")
        hive.read(name, group, 4)
        hive.command("XACK", name, group, *ids[:2])
        hive.sweep()
        assert hive.ids(name) == ids[2:]


def test_facts_answers_and_dead_letters_go_by_age(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis)
    control = streams.control("ada")
    for name, days in ((streams.EVENTS, 7), (control, 1), (streams.DEAD, 90)):
        hive.add(name, 5, age_days=days + 0.1)
        hive.add(name, 5, age_days=days - 0.1)
    hive.command("XGROUP", "CREATE", control, "harness", "$")
    hive.command("XGROUP", "CREATE", streams.EVENTS, "record", "$")
    report = hive.sweep()
    for name, days in ((streams.EVENTS, 7), (control, 1), (streams.DEAD, 90)):
        assert account(report.streams, name).removed == 5
        assert {id_.partition("-")[0] for id_ in hive.ids(name)} == {str(ms(days - 0.1))}


def test_streams_of_agents_that_nobody_knows_are_swept_and_strange_keys_are_not(
    redis: RedisServer, tmp_path: Path
) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 1})
    hive.add(streams.live("gone"), 5)
    hive.command("XGROUP", "CREATE", streams.live("gone"), "recorder", "$")
    hive.add("hive:mine", 5, age_days=900)
    hive.add("other", 5, age_days=900)
    assert [item.name for item in hive.sweep().streams] == [streams.live("gone")]
    assert [len(hive.ids(name)) for name in (streams.live("gone"), "hive:mine", "other")] == [1, 5, 5]


def test_ids_that_no_float_can_tell_apart_are_told_apart(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 0})
    ids = [f"{2**64 - 1}-{2**64 - 4 + seq}" for seq in range(3)]
    hive.commands([("XADD", LIVE, id_, "f", "v") for id_ in ids])
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "0")
    hive.read(LIVE, "recorder", 3)
    hive.command("XACK", LIVE, "recorder", ids[0], ids[2])
    hive.sweep()
    assert hive.ids(LIVE) == ids[1:]


def test_large_nodes_are_trimmed_to_the_entry(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 7})
    hive.command("CONFIG", "SET", "stream-node-max-entries", 1000)
    ids = hive.add(LIVE, 999)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "$")
    hive.sweep()
    assert hive.ids(LIVE) == ids[-7:]


def test_a_full_server_can_be_swept(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis)
    hive.add(LIVE, 2500, size=1000)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "$")
    hive.command("CONFIG", "SET", "maxmemory", "1mb")
    assert account(hive.sweep().streams, LIVE).removed == 500


def test_a_key_of_another_kind_does_not_stop_the_sweep(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 0})
    hive.command("SET", INBOX, "not a stream")
    hive.add(LIVE, 3)
    hive.command("XGROUP", "CREATE", LIVE, "recorder", "$")
    assert account(hive.sweep().streams, LIVE).removed == 3


def test_a_server_that_is_away_is_told_and_the_stores_are_swept(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis)
    hive.make_stores()
    redis.kill()
    report = hive.sweep()
    assert "Redis does not answer" in report.streams[0].error
    assert {item.error for item in report.stores} == {""}
    assert report.errors == 1


def test_what_destroyed_purged_and_orphaned_agents_left_is_swept(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"live_entries": 0}, agents=("destroyed",))
    hive.make_stores()
    for name in ("destroyed", "orphaned"):
        put_events(tmp_path / "agents" / name / "events.sqlite", 7, age_days=8)
    for name in ("destroyed", "purged", "orphaned"):
        stream = f"hive:{{{name}}}:live"
        hive.commands([("XADD", stream, f"{number}-0", "f", "v") for number in range(1, 6)])
        hive.command("XGROUP", "CREATE", stream, "recorder", "4-0")
    report = hive.sweep()
    assert {item.name: item.removed for item in report.stores if item.removed} == {
        "agents/destroyed/events.sqlite": 7,
        "agents/orphaned/events.sqlite": 7,
    }
    assert [hive.ids(f"hive:{{{name}}}:live") for name in ("destroyed", "purged", "orphaned")] == [["5-0"]] * 3
    assert report.errors == 0


def test_what_is_kept_for_longer_than_there_have_been_clocks_is_kept(redis: RedisServer, tmp_path: Path) -> None:
    hive = Hive(tmp_path, redis, {"fact_days": 100_000})
    ids = hive.add(streams.EVENTS, 5, age_days=1)
    hive.command("XGROUP", "CREATE", streams.EVENTS, "record", "$")
    for dry_run in (True, False):
        swept = account(hive.sweep(dry_run=dry_run).streams, streams.EVENTS)
        assert (swept.kept, swept.removed, swept.error) == (5, 0, "")
    assert hive.ids(streams.EVENTS) == ids
