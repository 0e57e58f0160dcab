"""The turns of each agent in each of the last hours, for the small charts beside their names."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from hive_contracts.errors import HiveError
from hive_dashboard.registry import AgentView
from hive_runtime.records.stats import StatsReader

HOURS: Final = 24
HOUR: Final = timedelta(hours=1)
RECORDED: Final = timedelta(seconds=5)
"""How far the record of a turn may be behind its end."""


@dataclass(frozen=True, slots=True)
class _Known:
    hour: datetime
    turn_id: str
    read_at: datetime
    turns: tuple[int, ...]


class Sparks:
    """Reads an agent's figures when it had a turn or an hour went by, and else remembers them. Blocks."""

    def __init__(self, data_dir: Path, clock: Callable[[], datetime]) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def of(self, agent: AgentView) -> tuple[int, ...]:
        """Oldest first, `HOURS` numbers; none for an agent without turns."""
        now = self._clock()
        last = agent.state.last_turn if agent.state else None
        hour, turn_id = now.replace(minute=0, second=0, microsecond=0), last.turn_id if last else ""
        known = self._known.get(agent.name)
        is_same = known and (known.hour, known.turn_id) == (hour, turn_id)
        if known and is_same and self._is_settled(known, now, last.ended if last else None):
            return known.turns
        turns = self._read(agent.name, hour)
        self._known[agent.name] = _Known(hour, turn_id, now, turns)
        return turns

    def _is_settled(self, known: _Known, now: datetime, ended: datetime | None) -> bool:
        if ended is None:
            return True
        ended = ended if ended.tzinfo else ended.replace(tzinfo=UTC)
        return known.read_at - ended > RECORDED or now - known.read_at < RECORDED

    def _read(self, name: str, hour: datetime) -> tuple[int, ...]:
        since = hour - (HOURS - 1) * HOUR
        reader = StatsReader(self._data_dir / "agents" / name / "events.sqlite")
        try:
            found = reader.series("turns", since, hour + HOUR, HOUR)
        except HiveError:
            return ()
        counts = {bucket.at: round(bucket.sum) for bucket in found}
        return tuple(counts.get(since + place * HOUR, 0) for place in range(HOURS)) if counts else ()
