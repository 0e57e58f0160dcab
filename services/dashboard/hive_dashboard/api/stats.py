"""`/api/v1/agents/<name>/stats`: the figures of an agent's turns over time, added up in SQL. Keys: `docs/stats.md`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hive_contracts.stats import Kind, key_of
from hive_dashboard.api.agents import known
from hive_dashboard.errors import InvalidRequest
from hive_dashboard.parts import PartsOf
from hive_dashboard.registry import AgentView
from hive_dashboard.spans import MAX_SPAN, parse_span, parse_time
from hive_runtime.records.stats import Bucket, StatsReader

DEFAULT_POINTS: Final = 60
MAX_POINTS: Final = 500
MIN_STEP: Final = timedelta(seconds=1)

router = APIRouter(prefix="/agents", tags=["agents"])


COLUMNS: Final = ("ts", "count", "sum", "avg", "p50", "p95", "max", "per_minute")
Row = tuple[float, int, float, float, float, float, float, float | None]
"""From `ts` (seconds since 1970) on, for one step; `per_minute` is null where adding up has no meaning."""


class Series(BaseModel):
    """`points`: one row each, as `columns` names them, oldest first, none where nothing was counted; `total`: one row
    for all of the time, whose percentiles are exact."""

    kind: Kind
    unit: str
    total: Row
    points: list[Row]


class Stats(BaseModel):
    """`since_last_turn_s`: since the last turn ended, by the agent's state; null when it had none."""

    agent: str
    since: datetime
    until: datetime
    step_s: float
    since_last_turn_s: float | None
    columns: tuple[str, ...] = COLUMNS
    series: dict[str, Series]


TimeText = Annotated[str, Query(max_length=40)]


@router.get("/{name}/stats")
def stats(parts: PartsOf, name: str, since: TimeText = "24h", until: TimeText = "", step: TimeText = "") -> Stats:
    """The figures of its turns over time; `since` and `until`: a time, or how long ago; `step`: a span."""
    agent = known(parts, name)
    now = datetime.now(UTC)
    start = parse_time(since, name="since", now=now)
    end = parse_time(until, name="until", now=now) if until else now
    if not timedelta(0) < end - start <= MAX_SPAN:
        raise InvalidRequest(f"until must come after since, by at most {MAX_SPAN.days} days")
    width = _step(step, end - start)
    reader = StatsReader(parts.data_dir / "agents" / agent.name / "events.sqlite")
    found = reader.all_series(start, end, width)
    whole = reader.all_series(start, end, end - start)
    series = {
        key: Series(
            kind=key_of(key).kind,
            unit=key_of(key).unit,
            total=_row(key, whole[key][0], start, end, end - start),
            points=[_row(key, bucket, start, end, width) for bucket in buckets],
        )
        for key, buckets in found.items()
        if key in whole
    }
    return Stats(
        agent=agent.name,
        since=start,
        until=end,
        step_s=width.total_seconds(),
        since_last_turn_s=_since_last_turn(agent, now),
        series=series,
    )


def _step(text: str, span: timedelta) -> timedelta:
    if not text:
        return max(MIN_STEP, span / DEFAULT_POINTS)
    step = parse_span(text, name="step")
    least = max(MIN_STEP, span / MAX_POINTS)
    if step < least:
        raise InvalidRequest(
            f"step is not valid: for this time it is at least {least.total_seconds():.0f}s, {MAX_POINTS} points a key"
        )
    return step


def _row(key: str, bucket: Bucket, start: datetime, end: datetime, width: timedelta) -> Row:
    minutes = (min(bucket.at + width, end) - bucket.at) / timedelta(minutes=1)
    rate = bucket.sum / minutes if key_of(key).kind is Kind.AMOUNT and minutes > 0 else None
    return (
        bucket.at.timestamp(),
        bucket.count,
        bucket.sum,
        bucket.avg,
        bucket.p50,
        bucket.p95,
        bucket.max,
        rate,
    )


def _since_last_turn(agent: AgentView, now: datetime) -> float | None:
    last = agent.state.last_turn if agent.state else None
    if last is None:
        return None
    ended = last.ended if last.ended.tzinfo else last.ended.replace(tzinfo=UTC)
    return max(0.0, (now - ended).total_seconds())
