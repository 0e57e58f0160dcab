"""`dashboard.sqlite`: sessions and one-time sign-in links. The only module here that speaks SQL."""

import hashlib
import secrets
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Final

from hive_runtime.bus import Bus
from hive_runtime.store import Store
from hive_runtime.store_watch import tell_when_replaced

LINK_LIFETIME_S: Final = 15 * 60
SECRET_BYTES: Final = 32

MIGRATIONS: Final = (files("hive_dashboard").joinpath("schema.sql").read_text(),)


def hash_of(secret: str) -> bytes:
    """Secrets here are 256 random bits: a fast hash keeps them."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class SessionStore:
    """`clock` gives seconds since 1970."""

    def __init__(self, path: Path, *, session_s: float, clock: Callable[[], float] = time.time) -> None:
        self._store = Store(path, MIGRATIONS)
        path.chmod(0o600)
        self._session_s = session_s
        self._clock = clock

    def new_link(self) -> str:
        """The secret of a sign-in link that works once, for `LINK_LIFETIME_S` seconds."""
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self._clock()
        with self._store.transaction() as db:
            db.execute("DELETE FROM sign_in_links WHERE expires_at <= :now", {"now": int(now)})
            db.execute(
                "INSERT INTO sign_in_links VALUES (:hash, :expires_at)",
                {"hash": hash_of(secret), "expires_at": int(now + LINK_LIFETIME_S)},
            )
        return secret

    def sign_in(self, link: str) -> str | None:
        """Use a link up; the secret of a new session, or None when the link is unknown, used or too old."""
        secret, now = secrets.token_urlsafe(SECRET_BYTES), self._clock()
        with self._store.transaction() as db:
            used = db.execute(
                "DELETE FROM sign_in_links WHERE secret_hash = :hash AND expires_at > :now",
                {"hash": hash_of(link), "now": int(now)},
            )
            if used.rowcount != 1:
                return None
            db.execute("DELETE FROM sessions WHERE expires_at <= :now", {"now": int(now)})
            db.execute(
                "INSERT INTO sessions VALUES (:hash, :now, :expires_at)",
                {"hash": hash_of(secret), "now": int(now), "expires_at": int(now + self._session_s)},
            )
        return secret

    def is_valid(self, session: str) -> bool:
        with self._store.reading() as db:
            row = db.execute(
                "SELECT 1 FROM sessions WHERE secret_hash = :hash AND expires_at > :now",
                {"hash": hash_of(session), "now": int(self._clock())},
            ).fetchone()
        return row is not None

    def sign_out(self, session: str) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM sessions WHERE secret_hash = :hash", {"hash": hash_of(session)})

    async def tell_when_replaced(self, bus: Bus) -> None:
        """Until cancelled."""
        await tell_when_replaced(self._store, bus, source="dashboard", brought_back="nothing; sign in again")

    def close(self) -> None:
        self._store.close()
