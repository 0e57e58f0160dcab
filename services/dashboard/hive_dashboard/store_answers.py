"""What posts with an idempotency key were answered, in `dashboard.sqlite`, for a day."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hive_runtime.store import Store

KEPT_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Known:
    """`same`: the request was the same, too. `status` None: it was begun, and no answer is known."""

    same: bool
    status: int | None
    body: bytes


class Answers:
    """`clock` gives seconds since 1970. Keys and requests are hashes."""

    def __init__(self, base: Store, *, clock: Callable[[], float]) -> None:
        self._base = base
        self._clock = clock

    def begin(self, key: bytes, request: bytes) -> Known | None:
        """None: it is new, and is yours to do."""
        now = int(self._clock())
        with self._base.transaction() as db:
            db.execute("DELETE FROM answers WHERE begun_at <= :old", {"old": now - KEPT_S})
            row = db.execute("SELECT * FROM answers WHERE key_hash = :key", {"key": key}).fetchone()
            if row is None:
                query = "INSERT INTO answers (key_hash, request_hash, begun_at) VALUES (:key, :request, :now)"
                db.execute(query, {"key": key, "request": request, "now": now})
                return None
        return Known(row["request_hash"] == request, row["status"], row["body"] or b"")

    def keep(self, key: bytes, status: int, body: bytes) -> None:
        query = "UPDATE answers SET status = :status, body = :body WHERE key_hash = :key"
        with self._base.transaction() as db:
            db.execute(query, {"key": key, "status": status, "body": body})

    def forget(self, key: bytes) -> None:
        with self._base.transaction() as db:
            db.execute("DELETE FROM answers WHERE key_hash = :key", {"key": key})
