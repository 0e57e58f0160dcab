"""What a harness must still know after a restart: that it is paused, until when it naps or waits, costs and last turn.

`<state>/harness.json`, replaced whole. Where the engine runs as the harness's user it can change the file: a pause or a
nap steers an agent, it does not hold one that means harm.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hive_contracts.agents import LastTurn
from hive_harness.files import read_json, write_json

MAX_COST_USD = 1e9

log = structlog.get_logger()


class Kept(BaseModel):
    """Times are UTC; `day` is the day, as 2030-01-31, that `cost_day_usd` counts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    paused: bool = False
    nap_until: datetime | None = None
    limited_until: datetime | None = None
    cost_usd: float = Field(default=0.0, ge=0, le=MAX_COST_USD)
    cost_day_usd: float = Field(default=0.0, ge=0, le=MAX_COST_USD)
    day: str = ""
    last_turn: LastTurn | None = None


class KeptStore:
    """`value` is what the file holds, or would if the disk took it."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "harness.json"
        self.value = _load(self._path)

    def keep(self, **changes: Any) -> None:
        """Write it down before it counts."""
        changed = self.value.model_copy(update=changes)
        if changed == self.value:
            return
        self.value = changed
        try:
            write_json(self._path, changed.model_dump(mode="json"))
        except OSError as error:
            log.warning("the harness's state could not be written down", reason=str(error))

    def add_cost(self, usd: float, *, now: datetime) -> None:
        """Count a turn's cost into the day and the total."""
        day_usd = self.cost_of_day(now) + usd
        self.keep(cost_usd=self.value.cost_usd + usd, cost_day_usd=day_usd, day=_day(now))

    def cost_of_day(self, now: datetime) -> float:
        """What the turns of the day cost so far, in US dollars."""
        return self.value.cost_day_usd if self.value.day == _day(now) else 0.0


def _day(time: datetime) -> str:
    return time.astimezone(UTC).date().isoformat()


def _load(path: Path) -> Kept:
    try:
        kept = Kept.model_validate(read_json(path))
    except ValidationError as error:
        log.warning("the harness's state could not be read", reason=str(error)[:200])
        return Kept()
    aware = {name: _aware(getattr(kept, name)) for name in ("nap_until", "limited_until")}
    return kept.model_copy(update=aware)


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time
