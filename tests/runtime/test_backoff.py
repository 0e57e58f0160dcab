"""Waits grow, stay within their limits, and start over."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_runtime.backoff import Backoff, persist
from hive_runtime.errors import BusDenied, BusFull, BusLocked, BusUnavailable, StoreUnavailable


@given(st.floats(0.01, 1), st.floats(1, 100), st.integers(1, 60))
def test_a_wait_lies_in_the_upper_half_of_its_step(first_s: float, limit_s: float, tries: int) -> None:
    backoff = Backoff(first_s=first_s, limit_s=limit_s)
    waits = [backoff.next_s() for _ in range(tries)]
    for number, wait in enumerate(waits):
        step = min(limit_s, first_s * 2**number)
        assert step / 2 <= wait <= step
    assert backoff.tries == tries


def test_after_a_reset_it_starts_over() -> None:
    backoff = Backoff(first_s=1, limit_s=100)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1


def test_the_first_try_may_come_at_once_and_the_next_waits() -> None:
    backoff = Backoff(first_s=1, limit_s=100, at_once=True)
    first, *waits = [backoff.next_s() for _ in range(4)]
    assert first == 0
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, (1, 2, 4), strict=True))
    backoff.reset()
    assert backoff.next_s() == 0


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(first_s=0.01, limit_s=5)
    assert all(backoff.next_s() <= 5 for _ in range(1100))


def test_persist_goes_on_until_it_is_there() -> None:
    failures: list[Exception] = [BusUnavailable("away"), BusFull("full"), StoreUnavailable("locked"), BusLocked("new")]

    async def work() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert asyncio.run(persist(work, limit_s=0.001)) == "done"


def test_persist_does_not_insist_on_what_is_refused() -> None:
    async def work() -> None:
        raise BusDenied("no")

    with pytest.raises(BusDenied):
        asyncio.run(persist(work))
