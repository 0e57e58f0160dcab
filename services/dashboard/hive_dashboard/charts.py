"""Charts as figures of an SVG: where each bar, point, label and hover area stands. `parts/charts.html` draws them.

One unit of a chart is about one pixel, since charts stand in columns of about their own width. Values are said on hover
or touch, and all of them in a table behind each chart.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final

WIDTH: Final = 360
HEIGHT: Final = 172
LEFT: Final = 42
RIGHT: Final = 354
TOP: Final = 38
BOTTOM: Final = 152
TIME_LABELS: Final = 4

Values = tuple[float | None, ...]
"""One for each step, oldest first; None where there is nothing to tell."""

_NICE: Final = (1.0, 2.0, 4.0, 5.0, 10.0)
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_TIMES: Final = (
    *(_SECOND * number for number in (1, 2, 4, 10, 20, 30)),
    *(_MINUTE * number for number in (1, 2, 4, 10, 20, 30)),
    *(_HOUR * number for number in (1, 2, 4, 8, 12)),
    *(_DAY * number for number in (1, 2, 4, 10, 20, 40)),
)


class Shape(StrEnum):
    BARS = "bars"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Unit:
    """How values are said, how the axis says round ones, and the least round value that is not below another."""

    words: Callable[[float], str]
    axis: Callable[[float], str]
    least: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A series of a chart. `tone`: its class in charts.css."""

    name: str
    values: Values
    tone: str = "one"


@dataclass(frozen=True, slots=True)
class Steps:
    """The time of a chart, cut into steps of the same length."""

    start: datetime
    step: timedelta
    number: int

    @property
    def end(self) -> datetime:
        return self.start + self.step * self.number

    def at(self, index: int) -> datetime:
        return self.start + self.step * index

    def label(self, index: int) -> str:
        """For the axis, in UTC."""
        return f"{self.at(index):%H:%M}" if self.step * self.number <= timedelta(days=1) else f"{self.at(index):%d %b}"

    def span(self, index: int) -> str:
        start, end = self.at(index), self.at(index + 1)
        return f"{start:%d %b %H:%M} to {end:%H:%M}"


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    tone: str = "one"


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through following points: `d` of an SVG path. `dots` are points that stand alone."""

    d: str
    tone: str
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """The hover area of one step. `anchor`: of the text, which must not leave the chart."""

    x: float
    width: float
    middle: float
    anchor: str
    time: str
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of one step stand on each other. `key` names the chart within its page."""

    key: str
    title: str
    steps: Steps
    lines: tuple[Line, ...]
    unit: Unit
    shape: Shape = Shape.BARS
    note: str = ""

    @property
    def is_empty(self) -> bool:
        return not any(value for line in self.lines for value in line.values)

    @property
    def summary(self) -> str:
        """What the picture shows, for who does not see it."""
        parts = [f"{line.name} at most {self.unit.words(most)}" for line in self.lines if (most := _most(line.values))]
        return f"{self.title}, {', '.join(parts) or 'nothing counted'}"

    @property
    def top(self) -> float:
        """The value at the upper edge."""
        if self.shape is Shape.LINES:
            return self.unit.least(max((_most(line.values) for line in self.lines), default=0.0))
        return self.unit.least(max((sum(values) for values in self._stacks()), default=0.0))

    @property
    def grid(self) -> tuple[tuple[float, str], ...]:
        """Height and label of the horizontal lines."""
        return tuple((self._y(self.top * share), self.unit.axis(self.top * share)) for share in (0.0, 0.5, 1.0))

    @property
    def times(self) -> tuple[tuple[float, str], ...]:
        every = max(1, self.steps.number // TIME_LABELS)
        return tuple((self._x(index), self.steps.label(index)) for index in range(0, self.steps.number, every))

    @property
    def bars(self) -> tuple[Bar, ...]:
        return tuple(self._bars()) if self.shape is Shape.BARS else ()

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        return tuple(self._stroke(line) for line in self.lines) if self.shape is Shape.LINES else ()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Of those steps that have something to say."""
        return tuple(self._slot(index) for index in self._told())

    @property
    def rows(self) -> tuple[tuple[datetime, tuple[str, ...]], ...]:
        """The table: a time and what each line says there, newest first, without the steps that say nothing."""
        return tuple((self.steps.at(index), self._said(index, missing="–")) for index in reversed(self._told()))

    def _told(self) -> list[int]:
        return [i for i in range(self.steps.number) if any(line.values[i] is not None for line in self.lines)]

    def _said(self, index: int, *, missing: str = "") -> tuple[str, ...]:
        values = [line.values[index] for line in self.lines]
        return tuple(missing if value is None else self.unit.words(value) for value in values)

    def _slot(self, index: int) -> Slot:
        said = zip(self.lines, self._said(index), strict=True)
        named = [f"{line.name} {words}" if len(self.lines) > 1 else words for line, words in said if words]
        middle = self._x(index) + self._width / 2
        anchor = "start" if middle < WIDTH / 3 else "end" if middle > WIDTH * 2 / 3 else "middle"
        return Slot(self._x(index), self._width, _short(middle), anchor, self.steps.span(index), ", ".join(named))

    @property
    def _width(self) -> float:
        return _short((RIGHT - LEFT) / self.steps.number)

    def _x(self, index: int) -> float:
        return _short(LEFT + (RIGHT - LEFT) / self.steps.number * index)

    def _y(self, value: float) -> float:
        return _short(BOTTOM - (BOTTOM - TOP) * max(0.0, value) / self.top)

    def _stacks(self) -> Iterator[list[float]]:
        for index in range(self.steps.number):
            yield [max(0.0, line.values[index] or 0.0) for line in self.lines]

    def _bars(self) -> Iterator[Bar]:
        gap = min(2.0, self._width / 5)
        for index, stack in enumerate(self._stacks()):
            below = 0.0
            for line, value in zip(self.lines, stack, strict=True):
                if value > 0:
                    y = self._y(below + value)
                    height = _short(max(0.5, self._y(below) - y))
                    yield Bar(self._x(index), y, _short(self._width - gap), height, line.tone)
                    below += value

    def _stroke(self, line: Line) -> Stroke:
        d: list[str] = []
        dots: list[tuple[float, float]] = []
        for there, group in groupby(enumerate(line.values), key=lambda item: item[1] is not None):
            points = [(_short(self._x(i) + self._width / 2), self._y(value or 0.0)) for i, value in group]
            if there and len(points) == 1:
                dots.extend(points)
            elif there:
                d.append("M" + "L".join(f"{x} {y}" for x, y in points))
        return Stroke("".join(d), line.tone, tuple(dots))


@dataclass(frozen=True, slots=True)
class Rank:
    """A row of a list that shows amounts against the largest. `share`: in percent of it."""

    name: str
    said: str
    share: float


def ranks_of(amounts: Sequence[tuple[str, float]], words: Callable[[float], str], *, limit: int = 20) -> list[Rank]:
    """Largest first, at most `limit`."""
    ordered = sorted(amounts, key=lambda item: (-item[1], item[0]))[:limit]
    most = max((value for _, value in ordered), default=0.0)
    return [Rank(name, words(value), _short(100 * value / most)) for name, value in ordered if value > 0]


def _most(values: Values) -> float:
    return max((value for value in values if value is not None), default=0.0)


def least_round(value: float) -> float:
    """1 for nothing."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return size * next((step for step in _NICE if step * size >= value), 10.0)


def least_round_time(milliseconds: float) -> float:
    return next((float(time) for time in _TIMES if time >= milliseconds), milliseconds)


def _short(value: float) -> float:
    return round(value, 2)
