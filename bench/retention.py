"""What the hourly sweep costs those who work meanwhile: worst waits, and how long it takes.

    python -m bench.retention            under 3 minutes on a machine that does nothing else
    python -m bench.retention --full     500 small stores instead of 20, the large one five times instead of twice
    python -m bench.retention --full --entries 50000 --rows 50000 --stores 20      all of it, small: does it work?

- A stream of 1,000,000 entries, one of them pending: trimmed as the supervisor does it, beside one plain XTRIM, each
  watched by a client that sends PING and XADD by turns, about a thousand in a second.
- A store of 1,000,000 rows down to 2,000, while another process writes to it as the broker does; then the same with
  one DELETE. Waits are told apart by what the sweep was doing: deleting, or giving the file back.
- Many stores of 50,000 rows, one after the other, with a writer on each.

A writer's wait is the time of one transaction of three rows, about 400 a second; "alone" is the same writer before the
sweep begins. On a machine that does other work too, look at the time with the lock that the sweep itself worked (CPU):
the rest is other processes' doing, as the waits of the writer alone are.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from tests.support.redis_server import redis_server

from hive_contracts import streams
from hive_contracts.ids import new_id
from hive_runtime.records.events import MIGRATIONS
from hive_runtime.records.outdated import outdated_events
from hive_runtime.redis_bus import connect
from hive_runtime.redis_trim import StreamTrimmer
from hive_runtime.redis_url import RedisAddress
from hive_runtime.store import Store
from hive_runtime.store_sweep import Pace, StoreSweep, sweep_store
from hive_runtime.trim import TrimRule

SMALL_ROWS = 50_000
KEEP = 2_000
ROW_TEXT = "x" * 150
PAUSE_S = 0.001
PROBE_S = 0.001
ALONE_S = 0.5
PROGRESS_S = 10.0
BATCH = 50_000

Answered = tuple[str, float, float]
"""A command, when it was sent, and the seconds until its answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more stores, and the large one more often")
    parser.add_argument("--only", choices=["streams", "store", "stores"])
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the stream")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large store")
    parser.add_argument("--stores", type=int, help="how many small ones: 20, or 500 with --full")
    options = parser.parse_args()
    started = time.monotonic()
    if options.only in {None, "streams"}:
        streams_part(options.entries)
    with tempfile.TemporaryDirectory(prefix="hive-bench-") as directory:
        if options.only in {None, "store"}:
            store_part(Path(directory), options.rows, 5 if options.full else 2)
        if options.only in {None, "stores"}:
            stores_part(Path(directory), options.stores or (500 if options.full else 20))
    say(f"all of it in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """At once, also into a file: a full run takes long."""
    print(text, flush=True)


# --- streams


def streams_part(entries: int) -> None:
    with redis_server() as server:
        rule = TrimRule(groups=("recorder",))
        for name, trim in (("hive_trim, in steps", rule), ("one XTRIM, for comparison", None)):
            asyncio.run(_fill_stream(server.address, entries))
            total, waits, left, pending = asyncio.run(_trim_watched(server.address, trim, _pending_of(entries)))
            probes = "; ".join(map(_of_probe, waits.items()))
            say(
                f"stream {entries:,} entries, {name}: {total * 1000:.0f} ms; {probes};"
                f" {left:,} left; pending entry {'kept' if pending else 'LOST'}; load {os.getloadavg()[0]:.1f}"
            )


def _of_probe(found: tuple[str, list[float]]) -> str:
    name, waits = found
    if not waits:
        return f"no {name} was answered meanwhile"
    worst, median = max(waits) * 1000, statistics.median(waits) * 1000
    return f"{name} worst {worst:.2f} ms, median {median:.2f} ms of {len(waits)}"


_FILL = "for n = ARGV[1], ARGV[2] do redis.call('XADD', KEYS[1], n .. '-0', 'data', ARGV[3]) end"


def _pending_of(entries: int) -> int:
    return entries * 9 // 10 + 1


async def _fill_stream(address: RedisAddress, entries: int) -> None:
    """Everything is acked but one entry; the floor is just below it."""
    redis: Any = connect(address, timeout_s=60)
    live = streams.live("ada")
    await redis.delete(live)
    for first in range(1, entries + 1, BATCH):
        await redis.eval(_FILL, 1, live, first, min(first + BATCH - 1, entries), ROW_TEXT)
    os.sync()  # writing the append-only file to the disk is not the trim's
    await redis.xgroup_create(live, "recorder", id=f"{_pending_of(entries) - 1}-0")
    await redis.xreadgroup("recorder", "c", {live: ">"}, count=1)
    await redis.xgroup_setid(live, "recorder", id=f"{entries}-0")
    await redis.aclose()


async def _trim_watched(
    address: RedisAddress, rule: TrimRule | None, kept: int
) -> tuple[float, dict[str, list[float]], int, bool]:
    """How long it took, the waits of each command of the probe, what is left, and whether entry `kept` is."""
    live = streams.live("ada")
    stop, ready = multiprocessing.Event(), multiprocessing.Event()
    waits: multiprocessing.Queue[list[Answered]] = multiprocessing.Queue()
    probe = multiprocessing.Process(target=_probe, args=(address, ready, stop, waits), daemon=True)
    probe.start()
    await asyncio.to_thread(ready.wait, 20)
    redis: Any = connect(address, timeout_s=60)
    trimmer = StreamTrimmer(address)
    await asyncio.sleep(ALONE_S)  # until the probe has settled
    begun, started = time.monotonic(), time.perf_counter()
    if rule:
        async for _ in trimmer.trim(live, rule):
            pass
    else:
        await redis.execute_command("XTRIM", live, "MAXLEN", "=", KEEP)
    total = time.perf_counter() - started
    stop.set()
    found: dict[str, list[float]] = {"PING": [], "XADD": []}
    for name, at, wait in await asyncio.to_thread(waits.get):
        if at + wait >= begun:
            found[name].append(wait)
    probe.join()
    left, pending = await redis.xlen(live), await redis.xrange(live, f"{kept}-0", f"{kept}-0")
    await trimmer.aclose()
    await redis.aclose()
    return total, found, left, bool(pending)


def _probe(address: RedisAddress, ready: Event, stop: Event, waits: "multiprocessing.Queue[list[Answered]]") -> None:
    async def run() -> None:
        redis: Any = connect(address)
        found: list[Answered] = []
        await redis.ping()
        ready.set()
        asks = itertools.cycle(
            (("PING", redis.ping), ("XADD", lambda: redis.xadd(streams.live("eve"), {"data": ROW_TEXT})))
        )
        while not stop.is_set():
            name, ask = next(asks)
            started = time.monotonic()
            await ask()
            found.append((name, started, time.monotonic() - started))
            await asyncio.sleep(PROBE_S)
        waits.put(found)
        await redis.aclose()

    asyncio.run(run())


# --- stores


@dataclass
class Phases:
    """When the sweep deleted, and when it gave the file back, by the system-wide monotonic clock."""

    deleting: list[tuple[float, float]] = field(default_factory=list)
    giving_back: list[tuple[float, float]] = field(default_factory=list)


def store_part(directory: Path, rows: int, times: int) -> None:
    template = directory / "large.sqlite"
    say(f"filling a store with {rows:,} rows")
    _fill_store(template, rows)
    worst = [_large(template, rows, _in_steps, "in steps") for _ in range(times)]
    say(f"store: worst wait of each of {times} sweeps, median {statistics.median(worst) * 1000:.1f} ms")
    _large(template, rows, _at_once, "one DELETE, for comparison")
    template.unlink()


def _large(template: Path, rows: int, sweep: Callable[[Path, Phases], StoreSweep], name: str) -> float:
    path = template.with_name("one.sqlite")
    shutil.copyfile(template, path)
    os.sync()
    before = path.stat().st_size
    result, seconds, waits, back = _watched(path, sweep)
    say(
        f"store {rows:,} rows to {KEEP:,}, {name}: {seconds:.1f} s; {_waits(waits)};"
        f" worst while the file is given back {max(back, default=0) * 1000:.1f} ms;"
        f" {before / 1e6:.0f} MB to {path.stat().st_size / 1e6:.0f} MB {result.error};"
        f" {_held(result)}; load {os.getloadavg()[0]:.1f}"
    )
    for file in path.parent.glob("one.sqlite*"):
        file.unlink()
    return max(waits)


def _held(result: StoreSweep) -> str:
    return f"lock held at most {result.held_s * 1000:.1f} ms, {result.held_cpu_s * 1000:.1f} ms CPU"


def stores_part(directory: Path, number: int) -> None:
    template = directory / "template.sqlite"
    _fill_store(template, SMALL_ROWS)
    content, path = template.read_bytes(), directory / "small.sqlite"
    waits: list[float] = []
    backs: list[float] = []
    seconds, held = [], []
    told = time.monotonic()
    for done in range(1, number + 1):
        path.write_bytes(content)
        result, took, found, back = _watched(path, _in_steps, alone_s=0)
        held.append(result.held_cpu_s)
        seconds.append(took)
        waits += found
        backs += back
        for file in directory.glob("small.sqlite*"):
            file.unlink()
        if time.monotonic() - told > PROGRESS_S:
            say(f"  {done} of {number} stores; so far {_waits(waits)}")
            told = time.monotonic()
    say(
        f"{number} stores of {SMALL_ROWS:,} rows to {KEEP:,}: {sum(seconds):.1f} s, median"
        f" {statistics.median(seconds) * 1000:.0f} ms each; {_waits(waits)};"
        f" worst while the file is given back {max(backs, default=0) * 1000:.1f} ms;"
        f" lock held at most {max(held) * 1000:.1f} ms CPU; load {os.getloadavg()[0]:.1f}"
    )


def _fill_store(path: Path, rows: int) -> None:
    store = Store(path, MIGRATIONS)
    store.connection.execute("PRAGMA synchronous=OFF")
    for first in range(0, rows, BATCH):
        with store.transaction() as db:
            db.executemany(
                "INSERT INTO events (entry_id, envelope_id, at, type, turn_id, seq, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (f"{n}-0", new_id(), n, "turn.text", f"t-{n // 50}", n % 50, ROW_TEXT)
                    for n in range(first, min(first + BATCH, rows))
                ),
            )
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store.close()
    os.sync()  # writing all this to the disk is not the sweep's


def _in_steps(path: Path, phases: Phases) -> StoreSweep:
    watch = Watch(phases, path)
    return sweep_store(path, outdated_events(before=0, newest=KEEP), pace=watch.pace(), dry_run=False)


class Watch:
    """Notes for each step of the sweep whether the file shrank by then: rows go first, then pages."""

    def __init__(self, phases: Phases, path: Path) -> None:
        self._phases = phases
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        (self._pages,) = self._db.execute("PRAGMA page_count").fetchone()
        self._last = time.monotonic()

    def pace(self) -> Pace:
        return Pace(pause=self._pause)

    def _pause(self, seconds: float) -> None:
        now = time.monotonic()
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (self._phases.giving_back if pages < self._pages else self._phases.deleting).append((self._last, now))
        time.sleep(seconds)
        self._last = now


def _at_once(path: Path, phases: Phases) -> StoreSweep:
    started = time.monotonic()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (KEEP,))
    middle = time.monotonic()
    db.execute("VACUUM")
    db.close()
    phases.deleting.append((started, middle))
    phases.giving_back.append((middle, time.monotonic()))
    return StoreSweep(kept=KEEP)


def _watched(
    path: Path, sweep: Callable[[Path, Phases], StoreSweep], *, alone_s: float = 1.0
) -> tuple[StoreSweep, float, list[float], list[float]]:
    """The sweep's result and time, the writer's waits during it, and those while the file was given back."""
    phases = Phases()
    with _writer(path) as waits:
        time.sleep(alone_s)
        begun = time.monotonic()
        result = sweep(path, phases)
        ended = time.monotonic()
    if alone_s:
        say(f"  writer alone: {_waits([wait for at, wait in waits if at < begun])}")
    during = [(at, wait) for at, wait in waits if begun <= at + wait and at <= ended]
    first_back = phases.giving_back[0][0] if phases.giving_back else ended
    back = [wait for at, wait in during if at >= first_back]
    return result, ended - begun, [wait for _, wait in during], back


@contextmanager
def _writer(path: Path) -> Iterator[list[tuple[float, float]]]:
    """A process that writes; the list is filled with (begun, seconds) when the block is left."""
    stop, ready = multiprocessing.Event(), multiprocessing.Event()
    queue: multiprocessing.Queue[list[tuple[float, float]]] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_write, args=(path, ready, stop, queue), daemon=True)
    process.start()
    ready.wait(20)
    waits: list[tuple[float, float]] = []
    try:
        yield waits
    finally:
        stop.set()
        waits += queue.get(timeout=120)
        process.join()


def _write(path: Path, ready: Event, stop: Event, queue: "multiprocessing.Queue[list[tuple[float, float]]]") -> None:
    store = Store(path, MIGRATIONS)
    waits: list[tuple[float, float]] = []
    while not stop.is_set():
        begun = time.monotonic()
        with store.transaction() as db:
            for _ in range(3):
                row = (new_id(), new_id(), 2**50, "turn.text", "t", 0, ROW_TEXT)
                db.execute(
                    "INSERT INTO events (entry_id, envelope_id, at, type, turn_id, seq, data)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        if ready.is_set():
            waits.append((begun, time.monotonic() - begun))
        ready.set()  # the first one, which opens the log, does not count
        time.sleep(PAUSE_S * random.uniform(0.5, 4))
    store.close()
    queue.put(waits)


def _waits(waits: list[float]) -> str:
    if not waits:
        return "no writes"
    median = statistics.median(waits)
    return (
        f"writer worst {max(waits) * 1000:.1f} ms, p99 {_p99(waits) * 1000:.1f} ms, median {median * 1000:.2f} ms"
        f" of {len(waits):,}, {sum(wait > 0.01 for wait in waits)} over 10 ms"
    )


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


if __name__ == "__main__":
    main()
