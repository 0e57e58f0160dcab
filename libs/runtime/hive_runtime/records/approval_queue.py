"""How many approvals waited for the operator at given times, by `approvals.sqlite`, which keeps every request."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hive_contracts.approvals import ApprovalState
from hive_runtime.records.messages import milliseconds
from hive_runtime.store import read_only

_WAITED = """
SELECT requested_at, CASE state WHEN :pending THEN NULL ELSE resolved_at END AS resolved_at FROM approvals
WHERE requested_at <= :last AND (state = :pending OR resolved_at > :first)
"""


def waiting_at(path: Path, times: Sequence[datetime]) -> list[int]:
    """One number for each of `times`, which ascend; nothing waits while the store is not there.

    One that was approved counts until its deployment ended, by milliseconds to minutes too long.
    """
    if not times:
        return []
    values = {"pending": ApprovalState.PENDING.value, "first": milliseconds(times[0]), "last": milliseconds(times[-1])}
    with read_only(path) as db:
        rows = db.execute(_WAITED, values).fetchall() if db else []
    began = sorted(row["requested_at"] for row in rows)
    ended = sorted(row["resolved_at"] for row in rows if row["resolved_at"] is not None)
    return [bisect_right(began, at) - bisect_right(ended, at) for at in map(milliseconds, times)]
