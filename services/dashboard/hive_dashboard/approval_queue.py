"""How many changes waited for the operator's approval over the last day, as a chart."""

from datetime import datetime
from pathlib import Path
from typing import Final

from hive_dashboard.charts import Chart, Line, Shape, Steps
from hive_dashboard.figures import NUMBERS, RANGES
from hive_runtime.records.approval_queue import waiting_at

_DAY: Final = next(one for one in RANGES if one.name == "24h")


def queue_chart(data_dir: Path, now: datetime) -> Chart:
    """Blocks. Raises `StoreUnavailable`."""
    steps: Steps = _DAY.steps(now)
    times = [min(now, steps.at(index + 1)) for index in range(steps.number)]
    waiting = waiting_at(data_dir / "approvals.sqlite", times)
    line = Line("waiting", tuple(float(number) for number in waiting))
    return Chart("approvals", "Changes that waited for you", steps, (line,), NUMBERS, Shape.BARS)
