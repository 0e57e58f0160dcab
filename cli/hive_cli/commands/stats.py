"""`hive stats`."""

import math
import shutil
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.output import GAP, dim, duration, print_json, print_table, printable, say
from hive_cli.sparkline import sparkline
from hive_contracts.names import check_agent_name

HEADERS: Final = ("FIGURE", "TOTAL", "A MINUTE", "MEDIAN", "95 %", "MAX", "OVER TIME")
NARROWEST: Final = 8
WIDEST: Final = 60


@command("stats", example="hive stats ada\nhive stats ada --since 7d\nhive stats ada --json")
@agent_argument("name")
@click.option("--since", default="24h", show_default=True, help="How long ago, as 30m or 7d, or a time.")
@json_option
def stats(name: str, *, since: str, as_json: bool) -> None:
    """Show the figures of the turns of the agent NAME. What each means: docs/stats.md."""
    found = hive_client().get(f"/api/v1/agents/{quote(check_agent_name(name))}/stats?{urlencode({'since': since})}")
    if as_json:
        print_json(found)
        return
    idle = found["since_last_turn_s"]
    last = f"{name}'s last turn ended {duration(idle)} ago." if idle is not None else f"{name} has had no turn yet."
    if found["series"]:
        _print(found)
    say(dim(last) if found["series"] else f"Nothing was counted in that time. {last}")


def _print(found: dict[str, Any]) -> None:
    rows = [_figures(key, series, found["columns"]) for key, series in found["series"].items()]
    widths = [max(map(len, column)) for column in zip(HEADERS[:-1], *rows, strict=True)]
    room = shutil.get_terminal_size().columns - sum(widths) - len(GAP) * len(widths)
    width = min(WIDEST, max(NARROWEST, room))
    lines = (_line(series, found, width) for series in found["series"].values())
    print_table(HEADERS, [(*row, line) for row, line in zip(rows, lines, strict=True)])


def _figures(key: str, series: dict[str, Any], columns: list[str]) -> tuple[str, ...]:
    total = dict(zip(columns, series["total"], strict=True))
    name, unit = printable(key), series["unit"]
    if series["kind"] == "amount":
        return (name, amount(total["sum"], unit), amount(total["per_minute"] or 0.0, ""), "", "", "")
    return (name, "", "", amount(total["p50"], unit), amount(total["p95"], unit), amount(total["max"], unit))


def _line(series: dict[str, Any], found: dict[str, Any], width: int) -> str:
    """A step in which nothing was counted is a gap."""
    columns = found["columns"]
    shown = columns.index("sum" if series["kind"] == "amount" else "avg")
    start, end = (datetime.fromisoformat(found[name]).timestamp() for name in ("since", "until"))
    step_s = float(found["step_s"])
    values: list[float | None] = [None] * max(1, math.ceil((end - start) / step_s - 1e-6))
    for point in series["points"]:
        values[min(len(values) - 1, round((point[0] - start) / step_s))] = point[shown]
    return sparkline(values, width)


def amount(number: float, unit: str) -> str:
    """With its unit, in few figures."""
    if unit == "ms":
        return f"{number:.0f} ms" if number < 1000 else f"{number / 1000:.1f} s"
    if unit == "USD":
        return f"${number:.2f}" if number >= 1 else f"${number:.4f}"
    for suffix, factor in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= factor:
            return f"{number / (factor if factor > 1e4 else 1e3):.1f}{suffix}"
    return f"{number:.0f}" if number == int(number) else f"{number:.2g}"
