"""The charts of an agent's figures: which keys of `docs/stats.md` stand in which chart, and how they are said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from hive_contracts.outcomes import CONSEQUENCES
from hive_contracts.stats import Peer
from hive_dashboard.charts import (
    Chart,
    Line,
    Rank,
    Shape,
    Steps,
    Unit,
    Values,
    least_round,
    least_round_time,
    ranks_of,
)
from hive_dashboard.words import count, duration, money, number, plain, plain_time, size
from hive_runtime.records.stats import Bucket, StatsReader, Sum

NUMBERS: Final = Unit(number, plain, least_round)
TIMES: Final = Unit(lambda value: duration(round(value)), plain_time, least_round_time)
MONEY: Final = Unit(money, lambda value: f"${value:.2f}" if value >= 0.1 or not value else money(value), least_round)
SIZES: Final = Unit(size, size, least_round)

Series = Mapping[str, Sequence[Sum]]
Told = Callable[[Sum], float]
S = TypeVar("S", Sum, Bucket)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PEER_TONES: Final = {Peer.OPERATOR: "one", Peer.MANAGER: "two", Peer.PEER: "three", Peer.SYSTEM: "rest"}
_TOKENS: Final = (
    ("read from cache", "cache_read", "rest"),
    ("into cache", "cache_creation", "three"),
    ("in", "in", "one"),
    ("out", "out", "two"),
)
_OUTCOMES: Final = (
    ("ok", "good", ("ok",)),
    ("ended from outside", "rest", ("cancelled", "interrupted")),
    ("held up by the provider", "wait", ("rate_limited", "auth", "overloaded", "network")),
    ("failed", "bad", ()),
)
"""Name, tone and outcomes of each part of a stack; the last takes what no other does."""


@dataclass(frozen=True, slots=True)
class Range:
    """A time that can be looked at, up to now, in steps that begin at round times."""

    name: str
    span: timedelta
    step: timedelta

    def steps(self, now: datetime) -> Steps:
        number = self.span // self.step
        end = _EPOCH + self.step * ((now - _EPOCH) // self.step + 1)
        return Steps(end - self.step * number, self.step, number)


RANGES: Final = (
    Range("1h", timedelta(hours=1), timedelta(minutes=1)),
    Range("24h", timedelta(hours=24), timedelta(minutes=30)),
    Range("7d", timedelta(days=7), timedelta(hours=3)),
    Range("30d", timedelta(days=30), timedelta(hours=12)),
)


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    said: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """`outcomes` and `tools`: how often each, over all of the time."""

    tiles: tuple[Tile, ...]
    charts: tuple[Chart, ...]
    tools: tuple[Rank, ...]
    outcomes: tuple[Rank, ...]


def figures_of(reader: StatsReader, steps: Steps, now: datetime) -> Figures:
    """Of one agent. Reads and adds up; blocks. Raises `StoreUnavailable`."""
    series = reader.sums(steps.start, steps.end, steps.step)
    durations = reader.series("duration_ms", steps.start, steps.end, steps.step)
    totals = {key: sum(bucket.sum for bucket in buckets) for key, buckets in series.items()}
    ends = reader.last_turns(steps.start, steps.end, steps.step)
    drawing = _Drawing(series, steps)
    return Figures(
        _tiles(totals),
        (*drawing.of_turns(durations, _idle(steps, ends, now)), *drawing.of_messages(), *drawing.of_costs()),
        tuple(ranks_of(_family(totals, "tool"), number)),
        tuple(ranks_of(_family(totals, "outcome"), number)),
    )


def _tiles(totals: Mapping[str, float]) -> tuple[Tile, ...]:
    turns = totals.get("turns", 0.0)
    well = totals.get("outcome.ok", 0.0)
    tokens = sum(value for key, value in totals.items() if key.startswith("tokens_"))
    return (
        Tile("Turns", number(turns), f"{well / turns:.0%} ok" if turns else ""),
        Tile("Tool calls", number(totals.get("tool_calls", 0.0))),
        Tile("Tokens", count(round(tokens))),
        Tile("Cost", money(totals.get("cost_usd", 0.0))),
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """The charts of a time, by what they are about."""

    series: Series
    steps: Steps

    def of_turns(self, durations: Sequence[Bucket], idle: Values) -> tuple[Chart, ...]:
        minutes = self.steps.step / timedelta(minutes=1)
        half, most = (_values(durations, self.steps, told) for told in (_p50, _p95))
        calls = _ratio(self.series, self.steps, "tool_calls", "turns")
        return (
            self._bars("turns", "Turns per minute", self._line("turns", "turns", lambda step: step.sum / minutes)),
            self._bars("outcomes", "How turns ended", *_outcomes(self.series, self.steps)),
            self._lines("duration", "Duration of a turn", Line("half within", half), Line("95 % within", most, "two")),
            self._bars("calls", "Tool calls per turn", Line("calls", calls)),
            self._lines("idle", "Time since the last turn", Line("since", idle)),
        )

    def of_messages(self) -> tuple[Chart, ...]:
        waiting = self._line("average", "inbox_depth", _avg), self._line("most", "inbox_depth_max", _max, "two")
        return (
            self._lines("inbox", "Messages in the inbox", *waiting, unit=NUMBERS, note="at the end of turns"),
            self._bars("received", "Messages taken up, by sender", *_peers(self.series, self.steps, "received")),
            self._bars("sent", "Messages sent, by recipient", *_peers(self.series, self.steps, "sent")),
        )

    def of_costs(self) -> tuple[Chart, ...]:
        tokens = [self._line(name, f"tokens_{key}", _sum, tone) for name, key, tone in _TOKENS]
        context = self._line("most", "context_tokens", _max)
        note = "tokens of a turn's last request"
        return (
            self._bars("cost", "Cost", self._line("cost", "cost_usd", _sum), unit=MONEY),
            self._bars("tokens", "Tokens", *tokens),
            self._lines("context", "Size of the conversation", context, unit=NUMBERS, note=note),
            self._lines("notes", "Size of its notes", self._line("notes", "notes_bytes", _max), unit=SIZES),
        )

    def _line(self, name: str, key: str, told: Told, tone: str = "one") -> Line:
        return Line(name, _values(self.series.get(key, ()), self.steps, told), tone)

    def _lines(self, key: str, title: str, *shown: Line, unit: Unit = TIMES, note: str = "") -> Chart:
        return Chart(key, title, self.steps, shown, unit, Shape.LINES, note)

    def _bars(self, key: str, title: str, *shown: Line, unit: Unit = NUMBERS) -> Chart:
        return Chart(key, title, self.steps, shown, unit)


def _values(buckets: Sequence[S], steps: Steps, told: Callable[[S], float]) -> Values:
    values: list[float | None] = [None] * steps.number
    for bucket in buckets:
        values[(bucket.at - steps.start) // steps.step] = told(bucket)
    return tuple(values)


def _ratio(series: Series, steps: Steps, above: str, below: str) -> Values:
    tops, bottoms = (_values(series.get(key, ()), steps, _sum) for key in (above, below))
    return tuple((top or 0.0) / bottom if bottom else None for top, bottom in zip(tops, bottoms, strict=True))


def _outcomes(series: Series, steps: Steps) -> list[Line]:
    taken = {name for _, _, names in _OUTCOMES for name in names}
    others = tuple(outcome.value for outcome in CONSEQUENCES if outcome.value not in taken)
    return [
        Line(name, _added(series, steps, [f"outcome.{one}" for one in names or others]), tone)
        for name, tone, names in _OUTCOMES
    ]


def _peers(series: Series, steps: Steps, family: str) -> list[Line]:
    return [Line(peer.value, _added(series, steps, [f"{family}.{peer}"]), tone) for peer, tone in _PEER_TONES.items()]


def _added(series: Series, steps: Steps, keys: Sequence[str]) -> Values:
    found = [_values(series[key], steps, _sum) for key in keys if key in series]
    return tuple(_sum_of(values) for values in zip(*found, strict=True)) if found else (None,) * steps.number


def _sum_of(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def _idle(steps: Steps, ends: Mapping[int, datetime], now: datetime) -> Values:
    """At the end of each step, in milliseconds; nothing before the first turn that is known."""
    values: list[float | None] = []
    last = ends.get(-1)
    for index in range(steps.number):
        last = ends.get(index, last)
        values.append(
            max(timedelta(0), min(now, steps.at(index + 1)) - last) / timedelta(milliseconds=1) if last else None
        )
    return tuple(values)


def _family(totals: Mapping[str, float], family: str) -> list[tuple[str, float]]:
    return [(key.partition(".")[2], value) for key, value in totals.items() if key.startswith(f"{family}.")]


def _sum(bucket: Sum) -> float:
    return bucket.sum


def _avg(bucket: Sum) -> float:
    return bucket.avg


def _max(bucket: Sum) -> float:
    return bucket.max


def _p50(bucket: Bucket) -> float:
    return bucket.p50


def _p95(bucket: Bucket) -> float:
    return bucket.p95
