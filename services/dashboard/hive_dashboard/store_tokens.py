"""Tokens in `dashboard.sqlite`: for programs, and for browsers that sign in with one. Kept as hashes, revocable."""

import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, Field

from hive_contracts.errors import NotFound
from hive_dashboard.secrets_kept import SECRET_BYTES, hash_of
from hive_runtime.store import Store

PREFIX: Final = "hive_"
"""Secrets begin with it, so that scanners of repositories and logs can know one."""

USED_STEP_S: Final = 60
"""The last use is written down at most so often, in seconds."""

VALID: Final = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"


class TokenView(BaseModel):
    """A token without its secret, which is shown once and kept nowhere. `expires_at` null: never."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    valid: bool = Field(description="neither revoked nor run out")


class TokenStore:
    """`clock` gives seconds since 1970."""

    def __init__(self, base: Store, *, clock: Callable[[], float]) -> None:
        self._base = base
        self._clock = clock

    def make(self, name: str, *, days: int | None) -> tuple[TokenView, str]:
        """A new token and its secret."""
        secret, now = PREFIX + secrets.token_urlsafe(SECRET_BYTES), int(self._clock())
        values = {
            "id": f"t-{secrets.token_hex(5)}",
            "hash": hash_of(secret),
            "name": name,
            "now": now,
            "expires_at": None if days is None else now + days * 24 * 3600,
        }
        with self._base.transaction() as db:
            db.execute(
                "INSERT INTO tokens (id, secret_hash, name, created_at, expires_at)"
                " VALUES (:id, :hash, :name, :now, :expires_at)",
                values,
            )
        return self.get(str(values["id"])), secret

    def find(self, secret: str) -> str | None:
        """The id of the valid token with this secret; notes that it was used."""
        values = {"hash": hash_of(secret), "now": int(self._clock()), "step": USED_STEP_S}
        with self._base.reading() as db:
            row = db.execute(f"SELECT id, used_at FROM tokens WHERE secret_hash = :hash AND {VALID}", values).fetchone()  # noqa: S608 - constants only
        if row is None:
            return None
        if row["used_at"] is None or row["used_at"] <= int(self._clock()) - USED_STEP_S:
            with self._base.transaction() as db:
                db.execute("UPDATE tokens SET used_at = :now WHERE id = :id", {"now": values["now"], "id": row["id"]})
        return str(row["id"])

    def get(self, token_id: str) -> TokenView:
        """Raises `NotFound`."""
        with self._base.reading() as db:
            row = db.execute("SELECT * FROM tokens WHERE id = :id", {"id": token_id}).fetchone()
        if row is None:
            raise NotFound(f"there is no token {token_id[:40]!r}; `hive token list` shows those there are")
        return self._view(row)

    def all(self, *, before: str | None = None, limit: int = 200) -> list[TokenView]:
        """Newest first, revoked ones too; `before` a token's id."""
        query = (
            "SELECT * FROM tokens WHERE :before IS NULL OR (created_at, id) <"
            " (SELECT created_at, id FROM tokens WHERE id = :before) ORDER BY created_at DESC, id DESC LIMIT :limit"
        )
        with self._base.reading() as db:
            return [self._view(row) for row in db.execute(query, {"before": before, "limit": limit})]

    def revoke(self, token_id: str) -> TokenView:
        """From now on it is worth nothing, and neither are sessions that were signed in with it. Idempotent."""
        values = {"id": token_id, "now": int(self._clock())}
        with self._base.transaction() as db:
            db.execute("UPDATE tokens SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", values)
            db.execute("DELETE FROM sessions WHERE token_id = :id", values)
        return self.get(token_id)

    def _view(self, row: sqlite3.Row) -> TokenView:
        now = self._clock()
        return TokenView(
            id=row["id"],
            name=row["name"],
            created_at=_time(row["created_at"]),
            expires_at=_time(row["expires_at"]) if row["expires_at"] else None,
            used_at=_time(row["used_at"]) if row["used_at"] else None,
            revoked_at=_time(row["revoked_at"]) if row["revoked_at"] else None,
            valid=row["revoked_at"] is None and (row["expires_at"] is None or row["expires_at"] > now),
        )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
