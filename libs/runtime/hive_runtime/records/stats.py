"""Figures of an agent's turns, in its `events.sqlite`: one row for each turn and key. Written with the turn's end.

A container tells its own figures, and can only tell wrong ones of itself, and few. Keys are open; those that hyperhive
makes of `TurnEnded`'s own fields no container may name.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from hive_contracts.stats import MAX_KEY
from hive_contracts.turns import TurnEnded
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import read_only

MAX_KEYS: Final = 32
"""Keys that a container may name in one turn; what is over is not kept."""

MAX_BUCKETS: Final = 5_000
MAX_SERIES: Final = 64
MAX_SUMS: Final = 20_000
MAX_VALUE: Final = 1e15
"""A larger figure is none; sums of those that are smaller stay finite."""

_KEY: Final = re.compile(rf"[a-z][a-z0-9_.]{{0,{MAX_KEY - 1}}}")

_INSERT: Final = """
INSERT OR IGNORE INTO stats (agent, ts, key, value, turn_id) VALUES (:agent, :ts, :key, :value, :turn_id)
"""
_SERIES: Final = """
WITH most AS (
  SELECT key FROM stats WHERE ts >= :since AND ts < :until AND (:key IS NULL OR key = :key)
  GROUP BY key ORDER BY count(*) DESC, key LIMIT :keys),
ranked AS (
  SELECT key, (ts - :since) / :step AS bucket, value,
    row_number() OVER (PARTITION BY key, (ts - :since) / :step ORDER BY value) AS place,
    count(*) OVER (PARTITION BY key, (ts - :since) / :step) AS number
  FROM stats WHERE key IN most AND ts >= :since AND ts < :until)
SELECT key, bucket, count(*) AS number, sum(value) AS sum, avg(value) AS avg, max(value) AS max,
  min(CASE WHEN place >= 0.5 * number THEN value END) AS p50,
  min(CASE WHEN place >= 0.95 * number THEN value END) AS p95
FROM ranked GROUP BY key, bucket ORDER BY key, bucket
"""


_SUMS: Final = """
SELECT key, (ts - :since) / :step AS bucket, count(*) AS number, sum(value) AS sum, max(value) AS max
FROM stats WHERE ts >= :since AND ts < :until GROUP BY key, bucket ORDER BY key, bucket LIMIT :limit
"""
_LAST_TURNS: Final = """
SELECT (ts - :since) / :step AS step, max(ts) AS ts FROM stats
WHERE key = 'turns' AND ts >= :since AND ts < :until GROUP BY 1
UNION ALL SELECT -1, max(ts) FROM stats WHERE key = 'turns' AND ts < :since
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The values from `at` on, for one step; `count` is at least 1. Percentiles are values that occurred."""

    at: datetime
    count: int
    sum: float
    avg: float
    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class Sum:
    """As `Bucket`, without percentiles, for which all values must be put in order."""

    at: datetime
    count: int
    sum: float
    max: float

    @property
    def avg(self) -> float:
        return self.sum / self.count


class StatsReader:
    """Anyone's side: each call opens read-only, and finds nothing while the store is not there or is an older one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def series(self, key: str, since: datetime, until: datetime, step: timedelta) -> list[Bucket]:
        """Of one key, oldest first, without the steps in which nothing was counted; `until` is not included.

        Raises `ValueError` for a step that is no time, or so short that there were over `MAX_BUCKETS`.
        """
        return self._series(key, since, until, step).get(key, [])

    def all_series(self, since: datetime, until: datetime, step: timedelta) -> dict[str, list[Bucket]]:
        """Key → its series, by key: of the `MAX_SERIES` that were counted most often. Raises as `series`."""
        return self._series(None, since, until, step)

    def _series(self, key: str | None, since: datetime, until: datetime, step: timedelta) -> dict[str, list[Bucket]]:
        start, end, width = milliseconds(since), milliseconds(until), step // timedelta(milliseconds=1)
        if width <= 0 or (end - start) / width > MAX_BUCKETS:
            raise ValueError(f"a step of {step} is too short for the time from {since} to {until}")
        values = {"key": key, "keys": MAX_SERIES, "since": start, "until": end, "step": width}
        found: dict[str, list[Bucket]] = {}
        for row in self._rows(_SERIES, values):
            found.setdefault(row["key"], []).append(_bucket(row, start, width))
        return found

    def sums(self, since: datetime, until: datetime, step: timedelta) -> dict[str, list[Sum]]:
        """Key → its steps, oldest first, without those in which nothing was counted; of every key, at
        most `MAX_SUMS` in all. Quicker than the series of all."""
        start, width = milliseconds(since), step // timedelta(milliseconds=1)
        found: dict[str, list[Sum]] = {}
        for row in self._rows(_SUMS, {"since": start, "until": milliseconds(until), "step": width, "limit": MAX_SUMS}):
            at = from_milliseconds(start + row["bucket"] * width)
            found.setdefault(row["key"], []).append(Sum(at, row["number"], row["sum"], row["max"]))
        return found

    def last_turns(self, since: datetime, until: datetime, step: timedelta) -> dict[int, datetime]:
        """Step → when the last turn in it ended, of steps in which one did; -1 → the last before `since`."""
        values = {
            "since": milliseconds(since),
            "until": milliseconds(until),
            "step": step // timedelta(milliseconds=1),
        }
        return {row["step"]: from_milliseconds(row["ts"]) for row in self._rows(_LAST_TURNS, values) if row["ts"]}

    def totals(self, since: datetime) -> dict[str, float]:
        """Key → sum of its values, of every key there is."""
        query = "SELECT key, sum(value) AS sum FROM stats WHERE ts >= :since GROUP BY key ORDER BY key"
        return {row["key"]: row["sum"] for row in self._rows(query, {"since": milliseconds(since)})}

    def _rows(self, query: str, values: Mapping[str, str | int | None]) -> list[sqlite3.Row]:
        with read_only(self._path) as db:
            if db is None or not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'stats'").fetchone():
                return []
            return db.execute(query, values).fetchall()


def record_stats(db: sqlite3.Connection, agent: str, ended: TurnEnded, *, ts: int) -> None:
    """Within the writer's transaction. May be repeated."""
    rows = [
        {"agent": agent, "ts": ts, "key": key, "value": value, "turn_id": ended.turn_id}
        for key, value in stats_of(ended).items()
    ]
    db.executemany(_INSERT, rows)


def stats_of(ended: TurnEnded) -> dict[str, float]:
    """What a turn counts for: hyperhive's own keys, then those of the harness that may be kept."""
    own = {
        "turns": 1.0,
        f"outcome.{ended.outcome}": 1.0,
        "messages": len(ended.messages),
        "tool_calls": ended.tool_calls,
        "duration_ms": ended.duration_ms,
        "tokens_in": ended.usage.input,
        "tokens_out": ended.usage.output,
        "tokens_cache_read": ended.usage.cache_read,
        "tokens_cache_creation": ended.usage.cache_creation,
        "context_tokens": ended.usage.context,
        "cost_usd": ended.cost_usd,
    }
    further = [(key, value) for key, value in _allowed(ended.stats) if key not in own]
    return {key: _finite(value) for key, value in own.items()} | dict(further[:MAX_KEYS])


def _allowed(stats: dict[str, float]) -> Iterator[tuple[str, float]]:
    for key, value in stats.items():
        if _KEY.fullmatch(key) and not key.startswith("outcome.") and abs(value) <= MAX_VALUE:
            yield key, value


def _finite(value: float) -> float:
    """A container's numbers may be anything; what nobody can add up counts as nothing."""
    return float(value) if abs(value) <= MAX_VALUE else 0.0


def _bucket(row: sqlite3.Row, start: int, width: int) -> Bucket:
    at = from_milliseconds(start + row["bucket"] * width)
    return Bucket(at, row["number"], row["sum"], row["avg"], row["p50"], row["p95"], row["max"])
