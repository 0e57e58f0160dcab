"""A container that crashes again and again: told at once the first time, then counted and told in one message.

Every message to the manager may be a turn, which costs money. So the first crash wakes it; those within `window` after
it are counted and told together when that has passed, and the same goes on while it crashes. Of such a row only the
first two messages wake. The counts lie in `hive:crashes`, so a broker that is killed goes on counting where it was.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from hive_broker.mail import Mail, excerpt
from hive_contracts import streams
from hive_contracts.agents import ContainerCrashed
from hive_contracts.envelope import Envelope
from hive_contracts.names import MANAGER, OPERATOR
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus, Entry, position

LONGEST_S: Final = 60.0
"""The machine's clock may be set."""

WAKING: Final = 2
"""So many messages of a row of crashes wake who is told."""

LOG_LINES: Final = 10
LINE: Final = 200

log = structlog.get_logger()


class CrashSeries(BaseModel):
    """A window that began with a message at `since`; `more` crashes came after it, the newest as `entry` tells.

    `closing`: they are being told, so the next one is not among them.
    """

    model_config = ConfigDict(frozen=True)

    since: datetime
    entry: str
    fact: str
    crash: ContainerCrashed
    more: int = 0
    told: int = 1
    closing: bool = False


class Crashes:
    """`handle` and `tell_due` may be cut off anywhere and repeated; both raise `BusUnavailable`."""

    def __init__(self, bus: Bus, mail: Mail, *, window: timedelta, now: Callable[[], datetime]) -> None:
        self._bus = bus
        self._mail = mail
        self._window = window
        self._now = now
        self._news = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def handle(self, entry: Entry, fact: Envelope) -> None:
        """Tell this crash, or count it. Raises `MalformedEnvelope`."""
        crash = fact.payload(ContainerCrashed)
        async with self._one_at_a_time:
            series = (await self._all()).get(crash.agent)
            if series and (position(entry.id) <= position(series.entry) or fact.id == series.fact):
                return
            if series and (series.closing or fact.time >= series.since + self._window):
                series = await self._close(series)
            if series:
                series = series.model_copy(
                    update={"entry": entry.id, "fact": fact.id, "crash": crash, "more": series.more + 1}
                )
            else:
                await self._mail.tell(_people(crash), f"{_words(crash)}{_log(crash)}", key=f"notice {fact.id}")
                series = CrashSeries(since=fact.time, entry=entry.id, fact=fact.id, crash=crash)
            await self._keep(series)
        self._news.set()

    async def forget(self, agent: str) -> None:
        """It was purged."""
        async with self._one_at_a_time:
            await self._bus.hash_delete(streams.CRASHES, [agent])

    async def run(self) -> None:
        """Tell what was counted when its time has come, until cancelled."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(await persist(self.tell_due)):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def tell_due(self) -> float:
        """Close the windows that have passed. Returns the seconds to the next."""
        rest = timedelta(seconds=LONGEST_S)
        async with self._one_at_a_time:
            for series in (await self._all()).values():
                left = series.since + self._window - self._now()
                if series.closing or left <= timedelta(0):
                    left = self._window if await self._close(series) else rest
                rest = min(rest, left)
        return rest.total_seconds()

    async def _close(self, series: CrashSeries) -> CrashSeries | None:
        """Tell what was counted and begin the next window; None when there was nothing."""
        if not series.more:
            await self._bus.hash_delete(streams.CRASHES, [series.crash.agent])
            return None
        await self._keep(series.model_copy(update={"closing": True}))
        key = f"crashes {series.crash.agent} {series.since.timestamp()}"
        body = f"{_summary(series, self._window)}{_log(series.crash)}"
        await self._mail.tell(_people(series.crash), body, key=key, context_only=series.told >= WAKING)
        series = series.model_copy(update={"since": self._now(), "more": 0, "told": series.told + 1, "closing": False})
        await self._keep(series)
        return series

    async def _keep(self, series: CrashSeries) -> None:
        await self._bus.hash_set(streams.CRASHES, {series.crash.agent: series.model_dump_json()})

    async def _all(self) -> dict[str, CrashSeries]:
        found = {}
        for agent, text in (await self._bus.hash_all(streams.CRASHES)).items():
            try:
                found[agent] = CrashSeries.model_validate_json(text)
            except ValidationError:
                log.warning("crashes are counted anew", agent=agent)
        return found


def _people(crash: ContainerCrashed) -> tuple[str, ...]:
    """The manager; of the manager itself the operator."""
    return (OPERATOR,) if crash.agent == MANAGER else (MANAGER,)


def _words(crash: ContainerCrashed) -> str:
    return f"The container of {crash.agent} ended {_how(crash)}; it is started again."


def _summary(series: CrashSeries, window: timedelta) -> str:
    minutes = window.total_seconds() / 60
    times = "once more" if series.more == 1 else f"{series.more} more times"
    return (
        f"The container of {series.crash.agent} crashed {times} in {minutes:.3g} min since the last message"
        f" about it, at last {_how(series.crash)}; it is started again each time."
    )


def _how(crash: ContainerCrashed) -> str:
    how = f"by signal {crash.signal}" if crash.signal else f"with status {crash.exit_status}"
    if crash.signal is None and crash.exit_status is None:
        how = "unseen"
    if crash.oom:
        how = f"{how}, for taking too much memory,"
    return f"{how} after {crash.uptime_seconds:.0f} s"


def _log(crash: ContainerCrashed) -> str:
    """What a container wrote, on one line each, so that none passes for one of ours."""
    lines = "\n".join(f"| {excerpt(line, LINE)}" for line in crash.log_tail[-LOG_LINES:])
    return f" Its log ends with:\n{lines}" if lines else ""
