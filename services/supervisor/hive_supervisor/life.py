"""What is known of a container's life beyond this supervisor's own: whether it was to run, how often it crashed.

It is kept before what it tells of is done, so that the next supervisor can tell a crash that nobody saw from a stop
that was wanted, and a machine that was started anew from both.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field

from hive_supervisor.runtimes.base import Container, ContainerExit

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
LAST_WORDS, LAST_WORDS_LENGTH = 3, 300
"""Of a container that did not come up, so many lines and characters stand in its record."""

_CLOCKS: Final = timedelta(seconds=1)
"""By so much a back-end's clock may be behind this one."""


class Run(StrEnum):
    """`UP`: it was started, and its end was not seen. `STOPPING`: likewise, and its end is wanted."""

    NONE = "none"
    UP = "up"
    STOPPING = "stopping"


class Life(BaseModel):
    """`number` counts the starts; `began` and `ended` are of the last, in seconds since 1970; `boot`: of which run of
    the machine. `crashes` are the times of those that count. `failed`: starts in a row that did not get there.
    `quarantine`: why it is not started any more. `made_of`: see `versions`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = 0
    run: Run = Run.NONE
    began: float = 0.0
    ended: float = 0.0
    boot: str = ""
    crashes: tuple[float, ...] = ()
    failed: int = 0
    quarantine: str = ""
    made_of: dict[str, str] = Field(default_factory=dict)

    def starting(self, made_of: dict[str, str]) -> Self:
        changes = {
            "number": self.number + 1,
            "run": Run.UP,
            "began": time.time(),
            "boot": boot_id(),
            "made_of": made_of,
        }
        return self.model_copy(update=changes)

    def came_up(self) -> Self:
        return self.model_copy(update={"failed": 0})

    def stopping(self) -> Self:
        return self.model_copy(update={"run": Run.STOPPING}) if self.run is Run.UP else self

    def going_on(self) -> Self:
        """It was to stop, and still runs."""
        return self.model_copy(update={"run": Run.UP})

    def over(self) -> Self:
        """It ended, as it was to."""
        return self.model_copy(update={"run": Run.NONE, "ended": time.time()})

    def not_started(self) -> Self:
        return self.model_copy(update={"run": Run.NONE, "failed": self.failed + 1})

    def crashed(self, *, came_up: bool, window_s: float) -> Self:
        """It ended unasked. Crashes older than `window_s` seconds count no more."""
        now = time.time()
        counted = tuple(at for at in self.crashes if now - window_s < at <= now)
        failed = self.failed if came_up else self.failed + 1
        return self.model_copy(update={"run": Run.NONE, "ended": now, "crashes": (*counted, now), "failed": failed})

    def quarantined(self, reason: str) -> Self:
        return self.model_copy(update={"quarantine": reason})

    def lifted(self) -> Self:
        """Somebody wants it to run: what was counts no more."""
        return self.model_copy(update={"quarantine": "", "crashes": (), "failed": 0})

    def missed(self, found: Container | None) -> ContainerExit | None:
        """The crash that happened while nobody watched; None when there was none. `found` does not run."""
        if self.run is not Run.UP or self.boot != boot_id() or found is None or found.since is None:
            return None
        if found.since < datetime.fromtimestamp(self.began, UTC) - _CLOCKS:
            return None  # that was an earlier run: this one never began
        return found.exit or ContainerExit(found.name, None, 0.0)


@dataclass(frozen=True, slots=True)
class Throttle:
    """How often a container is started again: `tries` that fail in a row, `crashes` within `window_s` seconds."""

    tries: int
    crashes: int
    window_s: float

    def verdict(self, life: Life) -> str:
        """Why it is to be started no more; empty while it is."""
        if life.failed >= self.tries:
            return f"it did not come up {life.failed} times in a row"
        if len(life.crashes) >= self.crashes:
            return f"it crashed {len(life.crashes)} times within {self.window_s / 60:.0f} minutes"
        return ""


def boot_id() -> str:
    """What names this run of the machine."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def how_it_ended(exit_: ContainerExit) -> str:
    if exit_.oom:
        return "ended for taking too much memory"
    if exit_.signal:
        return f"ended by signal {exit_.signal}"
    return "ended unseen" if exit_.status is None else f"ended with status {exit_.status}"


def last_words(lines: tuple[str, ...]) -> str:
    """The container's own words, on one line and short: as many whole lines as fit, or the end of the last."""
    said = ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines[-LAST_WORDS:]]
    while len(said) > 1 and len(" | ".join(said)) > LAST_WORDS_LENGTH:
        del said[0]
    shown = " | ".join(said)[-LAST_WORDS_LENGTH:]
    return f"; its last words: {shown}" if shown else ""
