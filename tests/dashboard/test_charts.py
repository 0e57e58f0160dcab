"""Charts: what stands where, what it says, and what it makes of figures that a container invents."""

import asyncio
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dashboard.opened import opened

from hive_contracts.agents import TurnOutcome
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnEnded, Usage
from hive_dashboard.approval_queue import queue_chart
from hive_dashboard.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Line, Shape, Steps, ranks_of
from hive_dashboard.figures import MONEY, NUMBERS, RANGES, SIZES, TIMES, figures_of
from hive_dashboard.render import Renderer
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter
from hive_runtime.records.events import EventWriter
from hive_runtime.records.stats import StatsReader

NOW = datetime(2030, 1, 31, 9, 7, tzinfo=UTC)
DAY = RANGES[1].steps(NOW)
FOUR = Steps(NOW, timedelta(minutes=1), 4)

values = st.lists(st.none() | st.floats(min_value=-1e15, max_value=1e15), min_size=4, max_size=4).map(tuple)


def chart(*lines: Line, shape: Shape = Shape.BARS) -> Chart:
    return Chart("c", "Title", FOUR, lines, NUMBERS, shape)


def drawn(one: Chart) -> str:
    return (
        Renderer()
        .environment.from_string('{% from "parts/charts.html" import chart %}{{ chart(one) }}')
        .render(one=one)
    )


def test_bars_of_one_step_stand_on_each_other() -> None:
    one = chart(Line("a", (1.0, None, 3.0, 0.0)), Line("b", (1.0, None, 1.0, None), "two"))
    assert one.top == 4
    low, high, *_ = one.bars
    assert (low.y + low.height, high.y + high.height) == (BOTTOM, low.y)
    assert [bar.tone for bar in one.bars] == ["one", "two", "one", "two"]


def test_a_line_is_interrupted_where_nothing_is_known() -> None:
    (stroke,) = chart(Line("a", (1.0, 2.0, None, 3.0)), shape=Shape.LINES).strokes
    assert stroke.d.count("M") == 1
    assert stroke.d.count("L") == 1
    assert len(stroke.dots) == 1


def test_each_value_is_said_on_hover_and_in_the_table() -> None:
    html = drawn(chart(Line("in", (1.0, None, 2.5, None)), Line("out", (0.0, None, None, None), "two")))
    assert "in 1, out 0" in html
    assert ">in 2.5<" in html
    assert re.findall(r"<td>([^<]*)</td>", html) == ["2.5", "–", "1", "0"]
    assert 'aria-label="Title, in at most 2.5"' in html


def test_a_chart_of_nothing_says_so_and_draws_nothing() -> None:
    html = drawn(chart(Line("a", (None, 0.0, None, None))))
    assert "Nothing counted in this time." in html
    assert "<svg" not in html


def test_no_chart_needs_an_inline_style_or_script() -> None:
    html = drawn(chart(Line("a", (1.0, 2.0, 3.0, 4.0)))) + drawn(chart(Line("a", (1.0,) * 4), shape=Shape.LINES))
    assert not re.search(r"\sstyle=|<script|<style|\son\w+=", html)


@given(values, values, st.sampled_from(Shape))
def test_nothing_is_drawn_outside_whatever_is_told(one: tuple[float], other: tuple[float], shape: Shape) -> None:
    it = chart(Line("a", one), Line("b", other, "two"), shape=shape)
    for bar in it.bars:
        assert LEFT <= bar.x <= bar.x + bar.width <= RIGHT
        assert TOP - 0.51 <= bar.y <= bar.y + bar.height <= BOTTOM + 0.51
    for stroke in it.strokes:
        heights = [float(y) for _, y in re.findall(r"([\d.]+) (-?[\d.]+)", stroke.d)] + [y for _, y in stroke.dots]
        assert all(TOP <= y <= BOTTOM for y in heights)
    assert drawn(it)


@pytest.mark.parametrize("one", RANGES, ids=[one.name for one in RANGES])
def test_a_range_ends_with_the_step_that_now_is_in(one: object) -> None:
    steps = next(it for it in RANGES if it is one).steps(NOW)
    assert steps.end - steps.step <= NOW < steps.end
    assert 40 <= steps.number <= 60


def test_axes_have_round_values() -> None:
    found = [
        unit.axis(unit.least(value))
        for unit, value in ((TIMES, 75_000), (TIMES, 0), (TIMES, 3_700_000), (NUMBERS, 3), (MONEY, 0.3), (SIZES, 1700))
    ]
    assert found == ["2 min", "1 s", "2 h", "4", "$0.40", "2 kB"]


def test_ranks_are_the_largest_first() -> None:
    ranks = ranks_of([("a", 1), ("b", 4), ("c", 0)], str)
    assert [(rank.name, rank.share) for rank in ranks] == [("b", 100), ("a", 25)]


def ended(number: int, **facts: object) -> TurnEnded:
    base = {"turn_id": f"t-{number}", "seq": 0, "outcome": TurnOutcome.OK, "duration_ms": 1000 * (number + 1)}
    return TurnEnded.model_validate(base | facts)


def record(data_dir: Path, *turns: tuple[datetime, TurnEnded]) -> StatsReader:
    path = data_dir / "agents" / "ada" / "events.sqlite"
    with closing(EventWriter(path)) as writer:
        told = [
            (f"{round(at.timestamp() * 1000)}-{index}", Envelope.of(turn, source="ada"))
            for index, (at, turn) in enumerate(turns)
        ]
        writer.record(told, position=told[-1][0])
    return StatsReader(path)


def an_hour_ago(minutes: int = 0) -> datetime:
    return datetime.now(UTC) - timedelta(hours=1) + timedelta(minutes=minutes)


def test_the_figures_of_an_agent_are_in_its_charts(tmp_path: Path) -> None:
    stats = {"tool.bash": 2.0, "received.peer": 1.0, "inbox_depth": 3.0, "notes_bytes": 1500.0}
    turns = [
        (an_hour_ago(), ended(n, stats=stats, tool_calls=2, cost_usd=0.5, usage=Usage(output=10))) for n in range(3)
    ]
    last = an_hour_ago(15)
    reader = record(tmp_path, *turns, (last, ended(3, outcome=TurnOutcome.FAILED)))
    now = datetime.now(UTC)
    figures = figures_of(reader, RANGES[1].steps(now), now)
    charts = {one.key: one for one in figures.charts}
    lines = {
        (key, line.name): [v for v in line.values if v is not None] for key, c in charts.items() for line in c.lines
    }
    assert sum(lines["outcomes", "ok"]) == 3
    assert sum(lines["outcomes", "failed"]) == 1
    assert max(lines["duration", "95 % within"]) >= 3000
    assert max(lines["calls", "calls"]) <= 2
    assert sum(lines["received", "peer"]) == 3
    assert sum(lines["tokens", "out"]) == 30
    assert sum(lines["cost", "cost"]) == 1.5
    assert lines["notes", "notes"] == [1500.0] * len(lines["notes", "notes"])
    assert lines["idle", "since"][-1] == pytest.approx((now - last) / timedelta(milliseconds=1), abs=1)
    assert [(rank.name, rank.said) for rank in figures.tools] == [("bash", "6")]
    assert (figures.tiles[0].name, figures.tiles[0].said) == ("Turns", "4")


def test_an_agent_without_a_turn_has_empty_charts(tmp_path: Path) -> None:
    figures = figures_of(StatsReader(tmp_path / "none.sqlite"), DAY, NOW)
    assert all(one.is_empty for one in figures.charts)
    assert figures.tiles[0].said == "0"


def test_the_page_of_figures_shows_each_range_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path, broker=False) as hive:
            await hive.scene.agent("ada")
            await hive.sees_agent("ada")
            await hive.sign_in()
            record(tmp_path, (an_hour_ago(50), ended(1, stats={"tool.bash": 1.0})))
            for name in ("1h", "24h", "7d", "30d"):
                page = await hive.browser.get(f"/agents/ada/stats?range={name}")
                assert page.status_code == 200
                assert f'<a href="?range={name}" aria-current="page">' in page.text
                assert 'id="chart-turns"' in page.text
            await hive.scene.agent("new")
            await hive.sees_agent("new")
            empty = (await hive.browser.get("/agents/new/stats")).text
            assert "Choose a longer time, or look again when new has ended a turn." in empty
            assert "chart-none" not in empty
            assert (await hive.browser.get("/agents/ada/stats?range=9y")).status_code == 422
            assert (await hive.browser.get("/agents/bob/stats")).status_code == 404

    asyncio.run(scenario())


def propose(data_dir: Path, now: datetime) -> None:
    """Two approvals, asked for 20 and 10 hours ago; the first was denied 5 hours ago."""
    store = ApprovalWriter(data_dir / "approvals.sqlite")
    for number, hours in enumerate((20, 10)):
        view = ApprovalView(
            id=f"ap-{number}",
            kind=ApprovalKind.APPLY_COMMIT,
            agent="ada",
            requester="hm1nd",
            state=ApprovalState.PENDING,
            commit="c",
            base="",
            requested_at=now - timedelta(hours=hours),
            expires_at=now + timedelta(days=9),
        )
        store.add(view, "")
        if number == 0:
            store.move(view, ApprovalState.DENIED, at=now - timedelta(hours=5))
    store.close()


def test_the_queue_of_approvals_is_counted_over_time(tmp_path: Path) -> None:
    propose(tmp_path, NOW)
    (line,) = queue_chart(tmp_path, NOW).lines
    assert [line.values[index] for index in (5, 15, 35, 47)] == [0, 1, 2, 1]
    assert all(value == 0 for value in queue_chart(tmp_path / "none", NOW).lines[0].values)


def test_the_front_page_shows_the_queue_when_something_waited(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path, broker=False) as hive:
            await hive.sign_in()
            assert 'id="chart-approvals"' not in (await hive.browser.get("/")).text
            propose(tmp_path, datetime.now(UTC))
            assert 'id="chart-approvals"' in (await hive.browser.get("/")).text
            renewed = (await hive.browser.get("/approvals/queue")).text
            assert 'id="chart-approvals"' in renewed
            assert "<main" not in renewed
            (tmp_path / "approvals.sqlite").write_text("no store any more")
            assert (await hive.browser.get("/")).status_code == 200
            assert (await hive.browser.get("/approvals/queue")).text == ""

    asyncio.run(scenario())
