"""How much may be sent: token buckets for each sender and each pair, and the guard against endless conversations.

All of it is in memory and rebuilt at start from what was delivered lately. Two brokers each keep their own count. The
operator is a person and is not limited; what the operator says into a conversation lets it begin anew.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from hive_broker.config import BrokerSettings
from hive_contracts.errors import LoopGuard, TooFast
from hive_contracts.names import OPERATOR, SYSTEM
from hive_runtime.drain import Gauge
from hive_runtime.records.traffic import Delivered

MAX_KEPT: Final = 10_000
"""Buckets or conversations over this number: those that no longer matter are forgotten."""

MINUTE_S: Final = 60.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """`per_minute` tokens in each bucket, refilled evenly. Times are seconds and need not run evenly, or forward."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._buckets: dict[Hashable, _Bucket] = {}

    def wait_s(self, key: Hashable, now: float) -> float:
        """Seconds until `take` is allowed; 0 when it is now."""
        return max(0.0, 1.0 - self._filled(key, now).tokens) * MINUTE_S / self._most

    def take(self, key: Hashable, now: float) -> None:
        """Also where `wait_s` says no, down to an empty bucket: what happened has happened."""
        if key not in self._buckets and len(self._buckets) >= MAX_KEPT:
            self._forget_full(now)
        bucket = self._buckets[key] = self._filled(key, now)
        bucket.tokens = max(0.0, bucket.tokens - 1)

    def _filled(self, key: Hashable, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            return _Bucket(self._most, now)
        gained = max(0.0, now - bucket.at) * self._most / MINUTE_S
        return _Bucket(min(self._most, bucket.tokens + gained), now)

    def _forget_full(self, now: float) -> None:
        kept = {key for key in self._buckets if self._filled(key, now).tokens < self._most}
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key in kept}


class Traces:
    """How many messages each conversation had within the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._times: dict[str, deque[float]] = {}

    def count(self, trace_id: str, now: float) -> int:
        times = self._times.get(trace_id)
        while times and times[0] <= now - self._window_s:
            times.popleft()
        return len(times or ())

    def add(self, trace_id: str, now: float) -> None:
        if trace_id not in self._times and len(self._times) >= MAX_KEPT:
            self._times = {trace: times for trace, times in self._times.items() if self.count(trace, now)}
        self._times.setdefault(trace_id, deque()).append(now)

    def forget(self, trace_id: str) -> None:
        self._times.pop(trace_id, None)


class Limits:
    """One for all outboxes. `clock` gives seconds since 1970."""

    def __init__(
        self, settings: BrokerSettings, gauge: Gauge | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._gauge = gauge
        self._clock = clock
        self._senders = Buckets(settings.sender_per_minute)
        self._pairs = Buckets(settings.pair_per_minute)
        self._traces = Traces(settings.trace_window_s)

    @property
    def inbox_soft(self) -> int:
        return self._settings.inbox_soft

    @property
    def inbox_hard(self) -> int:
        return self._settings.inbox_hard

    @property
    def lookback_s(self) -> float:
        """How far back `rebuild` needs to know what was delivered."""
        return max(MINUTE_S, self._settings.trace_window_s)

    def check(self, sender: str, recipient: str, trace_id: str, hop: int) -> None:
        """Raises `Draining`, `LoopGuard` or `TooFast`. `recipient` is `*` for a broadcast, which counts as one."""
        if self._gauge:
            self._gauge.check()
        if sender == OPERATOR:
            return
        self._check_loop(trace_id, hop)
        now = self._clock()
        for buckets, key, most, whom in (
            (self._senders, sender, self._settings.sender_per_minute, "you may send"),
            (self._pairs, (sender, recipient), self._settings.pair_per_minute, f"you may send {recipient}"),
        ):
            if wait_s := buckets.wait_s(key, now):
                raise TooFast(f"{whom} {most} messages a minute; the next in {wait_s:.1f} s")

    def count(self, sender: str, recipient: str, trace_id: str) -> None:
        """A message that `check` let pass was taken on."""
        self._count(sender, recipient, trace_id, self._clock())

    def rebuild(self, delivered: Iterable[Delivered]) -> None:
        """Count what was delivered before this broker started, oldest first."""
        broadcasts = set()
        for item in delivered:
            if item.broadcast:
                send = (item.sender, item.sent_at)  # the same for all copies of one
                if send in broadcasts:
                    continue
                broadcasts.add(send)
            self._count(item.sender, "*" if item.broadcast else item.recipient, item.trace_id, item.at)

    def _count(self, sender: str, recipient: str, trace_id: str, now: float) -> None:
        if sender == OPERATOR:
            self._traces.forget(trace_id)
        elif sender != SYSTEM:
            self._senders.take(sender, now)
            self._pairs.take((sender, recipient), now)
            self._traces.add(trace_id, now)

    def _check_loop(self, trace_id: str, hop: int) -> None:
        settings = self._settings
        if hop > settings.max_hops:
            raise LoopGuard(
                f"this conversation is {settings.max_hops} messages long without a word from the operator, so it was "
                "stopped; end your turn, the operator knows"
            )
        if self._traces.count(trace_id, self._clock()) >= settings.trace_messages:
            raise LoopGuard(
                f"this conversation had {settings.trace_messages} messages within {settings.trace_window_s:g} s, so it "
                "was stopped; end your turn, the operator knows"
            )
