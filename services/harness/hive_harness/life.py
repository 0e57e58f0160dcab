"""What the agent does, and what keeps it from beginning a turn: a pause, a nap, a wait. Told and kept as it changes.

Times are UTC and end by the clock on the wall, so that a nap of an hour is over an hour later whatever was restarted.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hive_contracts.agents import TurnState
from hive_harness.kept import KeptStore
from hive_harness.machine import LifeEvent, Machine
from hive_harness.status import StatusKeeper

LOOK_AGAIN_S: Final = 30.0
"""The clock may be set while somebody waits for it."""

MAX_JITTER_S: Final = 60.0

FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""What does not end by itself."""

_ENDS: Final = {
    LifeEvent.LOGIN_LOST: LifeEvent.LOGIN_TRIED,
    LifeEvent.LIMITED: LifeEvent.LIMIT_OVER,
    LifeEvent.NAP_BEGAN: LifeEvent.NAP_ENDED,
}
"""What ends by itself when its time has come."""

_SHOWN: Final = {
    TurnState.NEEDS_LOGIN: LifeEvent.LOGIN_LOST,
    TurnState.RATE_LIMITED: LifeEvent.LIMITED,
    TurnState.NAPPING: LifeEvent.NAP_BEGAN,
}


def utc_now() -> datetime:
    return datetime.now(UTC)


class Life:
    """The one place that moves the state. `free` is where whoever begins turns waits."""

    def __init__(self, kept: KeptStore, status: StatusKeeper, *, now: Callable[[], datetime] = utc_now) -> None:
        self._kept = kept
        self._status = status
        self._now = now
        self._machine = Machine()
        self._until: dict[LifeEvent, datetime] = {}
        self._why: dict[LifeEvent, str] = {}
        self._again_at: datetime | None = None
        self._again_why = ""
        self._in_hand = ""
        self._in_turn = False
        self._changed = asyncio.Event()
        self._take_up(kept.value.paused)

    def _take_up(self, paused: bool) -> None:  # noqa: FBT001 - one of what was kept
        """What an earlier harness left standing."""
        if paused:
            self._machine.happen(LifeEvent.PAUSED)
        for event, until in (
            (LifeEvent.NAP_BEGAN, self._kept.value.nap_until),
            (LifeEvent.LIMITED, self._kept.value.limited_until),
        ):
            if until and until > self._now():
                self._until[event], self._why[event] = until, ""
                self._machine.happen(event)

    @property
    def state(self) -> TurnState:
        return self._machine.state

    @property
    def naps(self) -> bool:
        return LifeEvent.NAP_BEGAN in self._until

    def ready(self) -> None:
        self._happen(LifeEvent.READY)

    def begin_turn(self, turn_id: str) -> None:
        self._in_turn = True
        self._happen(LifeEvent.TURN_BEGAN, turn_id=turn_id)

    def end_turn(self) -> None:
        self._in_hand = ""
        self._in_turn = False
        self._happen(LifeEvent.TURN_ENDED, turn_id=None)

    def take_in_hand(self, tool: str) -> None:
        """The tool that runs; empty for none."""
        if tool != self._in_hand:
            self._in_hand = tool
            self._show()

    def begin_compaction(self) -> None:
        self._happen(LifeEvent.COMPACTION_BEGAN)

    def end_compaction(self) -> None:
        self._happen(LifeEvent.COMPACTION_ENDED)

    def engine_compacts(self, begins: bool) -> None:  # noqa: FBT001 - what the engine says
        """The engine shortens the conversation of its own accord, in a turn."""
        if begins and self.state is TurnState.THINKING:
            self.begin_compaction()
        elif not begins and self._in_turn and self.state is TurnState.COMPACTING:
            self.end_compaction()

    def pause(self) -> None:
        self._kept.keep(paused=True)
        self._happen(LifeEvent.PAUSED)

    def resume(self) -> None:
        self._kept.keep(paused=False)
        self._happen(LifeEvent.RESUMED)

    def nap(self, until: datetime) -> None:
        self._kept.keep(nap_until=until)
        self._begin(LifeEvent.NAP_BEGAN, until, "")

    def park(self, until: datetime, why: str) -> None:
        """The provider takes nothing until then; jittered, so that not all agents come back at once."""
        until = self._jittered(until)
        self._kept.keep(limited_until=until)
        self._begin(LifeEvent.LIMITED, until, why)

    def lose_login(self, until: datetime, why: str) -> None:
        """Somebody must sign the engine in; it is tried again then all the same, unless that is `FOREVER`."""
        self._begin(LifeEvent.LOGIN_LOST, until, why)

    def find_login(self) -> None:
        """The engine is signed in again."""
        if LifeEvent.LOGIN_LOST in self._until:
            self._end(LifeEvent.LOGIN_LOST)

    def wait(self, until: datetime, why: str) -> None:
        """Begin no turn before then."""
        self._again_at, self._again_why = until, why
        self._show()

    def wake(self) -> bool:
        """End every wait, whatever for; False when there was none."""
        waits = [*self._until]
        waited = bool(waits) or self._again_at is not None
        self._again_at = None
        for event in waits:
            self._end(event)
        self._show()
        return waited

    async def free(self) -> None:
        """Returns when nothing keeps the agent from a turn."""
        while not self._is_free():
            self._changed.clear()
            try:
                async with asyncio.timeout(self._left_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _is_free(self) -> bool:
        now = self._now()
        for event, until in list(self._until.items()):
            if until <= now:
                self._end(event)
        if self._again_at and self._again_at <= now:
            self._again_at = None
            self._show()
        return self._machine.state is TurnState.IDLE and self._again_at is None

    def _left_s(self) -> float:
        times = [*self._until.values(), *([self._again_at] if self._again_at else [])]
        left = min(((until - self._now()).total_seconds() for until in times), default=LOOK_AGAIN_S)
        return max(0.0, min(left, LOOK_AGAIN_S))

    def _begin(self, event: LifeEvent, until: datetime, why: str) -> None:
        self._until[event], self._why[event] = until, why
        self._happen(event)

    def _end(self, event: LifeEvent) -> None:
        del self._until[event]
        if event is LifeEvent.NAP_BEGAN:
            self._kept.keep(nap_until=None)
        elif event is LifeEvent.LIMITED:
            self._kept.keep(limited_until=None)
        self._happen(_ENDS[event])

    def _happen(self, event: LifeEvent, **facts: Any) -> None:
        self._machine.happen(event)
        self._show(**facts)

    def _show(self, **facts: Any) -> None:
        state = self._machine.state
        self._status.update(state=state, **self._detail(state), **facts)
        self._changed.set()

    def _detail(self, state: TurnState) -> dict[str, Any]:
        if event := _SHOWN.get(state):
            return _waits(self._until[event], self._why[event])
        if state is TurnState.IDLE and self._again_at:
            return _waits(self._again_at, self._again_why)
        return {"detail": self._in_hand if state is TurnState.THINKING else "", "until": None}

    def _jittered(self, until: datetime) -> datetime:
        wait_s = max(0.0, (until - self._now()).total_seconds())
        return until + timedelta(seconds=random.uniform(0, min(MAX_JITTER_S, wait_s / 10)))


def _waits(until: datetime, why: str) -> dict[str, Any]:
    """`until` says when, `detail` only why."""
    return {"detail": why, "until": None if until == FOREVER else until}
