"""`dashboard.sqlite`: sessions and one-time sign-in links. Beside it `store_…`, for its other tables."""

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from hive_contracts.errors import NotFound
from hive_dashboard.secrets_kept import SECRET_BYTES, hash_of
from hive_runtime.bus import Bus
from hive_runtime.store import Store
from hive_runtime.store_watch import tell_when_replaced

LINK_LIFETIME_S: Final = 15 * 60

MIGRATIONS: Final = tuple(
    files("hive_dashboard").joinpath(name).read_text() for name in ("schema.sql", "schema_2.sql", "schema_3.sql")
)


class SessionView(BaseModel):
    """A signed-in browser. `token`: the token that it signed in with; null for a one-time link."""

    id: str
    created_at: datetime
    expires_at: datetime
    token: str | None = None


def session_name(secret_hash: bytes) -> str:
    """Names a session without giving it away."""
    return f"s-{hashlib.sha256(secret_hash).hexdigest()[:10]}"


class SessionStore:
    """`clock` gives seconds since 1970."""

    def __init__(self, path: Path, *, session_s: float, clock: Callable[[], float] = time.time) -> None:
        self.base = Store(path, MIGRATIONS)
        path.chmod(0o600)
        self._session_s = session_s
        self._clock = clock

    def new_link(self) -> str:
        """The secret of a sign-in link that works once, for `LINK_LIFETIME_S` seconds."""
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self._clock()
        with self.base.transaction() as db:
            db.execute("DELETE FROM sign_in_links WHERE expires_at <= :now", {"now": int(now)})
            db.execute(
                "INSERT INTO sign_in_links VALUES (:hash, :expires_at)",
                {"hash": hash_of(secret), "expires_at": int(now + LINK_LIFETIME_S)},
            )
        return secret

    def sign_in(self, link: str) -> str | None:
        """Use a link up; the secret of a new session, or None when the link is unknown, used or too old."""
        now = self._clock()
        with self.base.transaction() as db:
            used = db.execute(
                "DELETE FROM sign_in_links WHERE secret_hash = :hash AND expires_at > :now",
                {"hash": hash_of(link), "now": int(now)},
            )
            if used.rowcount != 1:
                return None
            return self._new_session(db, now, token_id=None)

    def sign_in_with_token(self, token_id: str) -> str:
        """The secret of a new session, which ends with the token. The caller has looked whether it is valid."""
        with self.base.transaction() as db:
            return self._new_session(db, self._clock(), token_id=token_id)

    def _new_session(self, db: sqlite3.Connection, now: float, *, token_id: str | None) -> str:
        secret = secrets.token_urlsafe(SECRET_BYTES)
        values = {
            "hash": hash_of(secret),
            "now": int(now),
            "expires_at": int(now + self._session_s),
            "token_id": token_id,
        }
        db.execute("DELETE FROM sessions WHERE expires_at <= :now", {"now": int(now)})
        db.execute("INSERT INTO sessions VALUES (:hash, :now, :expires_at, :token_id)", values)
        return secret

    def is_valid(self, session: str) -> bool:
        values = {"hash": hash_of(session), "now": int(self._clock())}
        with self.base.reading() as db:
            row = db.execute(f"SELECT 1 FROM sessions WHERE secret_hash = :hash AND {_VALID}", values).fetchone()  # noqa: S608 - constants only
        return row is not None

    def sign_out(self, session: str) -> None:
        with self.base.transaction() as db:
            db.execute("DELETE FROM sessions WHERE secret_hash = :hash", {"hash": hash_of(session)})

    def all(self) -> list[SessionView]:
        """Those that are valid, newest first."""
        return [view for _, view in self._valid()]

    def end(self, session_id: str) -> None:
        """Sign this one out. Raises `NotFound`."""
        found = next((secret_hash for secret_hash, view in self._valid() if view.id == session_id), None)
        if found is None:
            raise NotFound(f"there is no session {session_id[:40]!r}; the page Access lists those there are")
        with self.base.transaction() as db:
            db.execute("DELETE FROM sessions WHERE secret_hash = :hash", {"hash": found})

    def _valid(self) -> list[tuple[bytes, SessionView]]:
        query = f"SELECT * FROM sessions WHERE {_VALID} ORDER BY created_at DESC, secret_hash"  # noqa: S608 - constants only
        with self.base.reading() as db:
            return [(row["secret_hash"], _view(row)) for row in db.execute(query, {"now": int(self._clock())})]

    async def tell_when_replaced(self, bus: Bus) -> None:
        """Until cancelled."""
        await tell_when_replaced(self.base, bus, source="dashboard", brought_back="nothing; sign in again")

    def close(self) -> None:
        self.base.close()


_VALID: Final = (
    "expires_at > :now AND (token_id IS NULL OR token_id IN (SELECT id FROM tokens"
    " WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)))"
)


def _view(row: sqlite3.Row) -> SessionView:
    return SessionView(
        id=session_name(row["secret_hash"]),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        expires_at=datetime.fromtimestamp(row["expires_at"], UTC),
        token=row["token_id"],
    )
