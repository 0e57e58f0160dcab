"""Who asks: a browser with a session, or a program with the API token."""

import hashlib
import hmac
import os
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from hive_dashboard import audit
from hive_dashboard.errors import Forbidden, NotSignedIn, TooManyAttempts
from hive_dashboard.look import Look
from hive_dashboard.secrets_kept import hash_of
from hive_dashboard.security import SAFE_METHODS
from hive_dashboard.store import SessionStore, session_name
from hive_dashboard.store_tokens import TokenStore
from hive_runtime.errors import SettingsError

CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
SIGN_IN_ATTEMPTS: Final = 10
SIGN_IN_WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser, and how it wants pages. `csrf` is derived from the secret: nothing more has to be kept."""

    secret: str
    look: Look = field(default_factory=Look)

    @property
    def csrf(self) -> str:
        return hmac.new(self.secret.encode(), b"csrf", hashlib.sha256).hexdigest()

    @property
    def key(self) -> str:
        """Names the session without giving it away."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def id(self) -> str:
        """As the list of sessions and the audit log call it."""
        return session_name(hash_of(self.secret))

    def check_csrf(self, token: object) -> None:
        if not isinstance(token, str) or not hmac.compare_digest(token.encode("utf-8", "replace"), self.csrf.encode()):
            raise Forbidden("this form is too old, or not ours; reload the page and try again")


class Attempts:
    """At most `SIGN_IN_ATTEMPTS` failures in `SIGN_IN_WINDOW_S` seconds for each address."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def fail(self, address: str) -> None:
        """One more. Raises `TooManyAttempts` when there are too many already; those are not counted."""
        if len(self._recent(address)) >= SIGN_IN_ATTEMPTS:
            raise TooManyAttempts("too many attempts to sign in; wait a minute, then use a fresh link")
        self._failures.setdefault(address, deque()).append(self._clock())

    def _recent(self, address: str) -> deque[float]:
        oldest = self._clock() - SIGN_IN_WINDOW_S
        for known in list(self._failures):
            while self._failures[known] and self._failures[known][0] <= oldest:
                self._failures[known].popleft()
            if not self._failures[known]:
                del self._failures[known]
        return self._failures.get(address, deque())


class Auth:
    """Tells who asks. `port` makes the cookie's name, because browsers share cookies between ports."""

    def __init__(
        self, store: SessionStore, *, tokens: TokenStore, attempts: Attempts, api_token: str, port: int, session_s: int
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._attempts = attempts
        self._api_token = api_token.encode()
        self._cookie = f"hive_session_{port}"
        self._session_s = session_s

    def session(self, request: HTTPConnection) -> Session | None:
        secret = request.cookies.get(self._cookie)
        return Session(secret) if secret and self._store.is_valid(secret) else None

    def require_session(self, request: Request) -> Session:
        session = self.session(request)
        if session is None:
            raise NotSignedIn("sign in with the link that `hive up` or `hive sign-in` prints")
        audit.identify(session.id)
        return session

    def require_api(self, request: Request) -> None:
        """A bearer token, or a session: that alone for reading, with the CSRF header for anything else."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            audit.identify(self._bearer(request, token.strip()))
            return
        session = self.session(request)
        if session is None:
            raise NotSignedIn(
                "send `Authorization: Bearer` with a token: secrets/api-token, or one of `hive token create`"
            )
        audit.identify(session.id)
        if request.method not in SAFE_METHODS:
            session.check_csrf(request.headers.get(CSRF_HEADER))

    def sign_in(self, request: Request, secret: str) -> Session:
        """With a one-time link's secret, or a token. What is right always gets in: whoever guesses cannot keep the
        operator out. Raises `NotSignedIn`, and `TooManyAttempts` for a wrong one after many wrong ones.
        """
        new = self._store.sign_in(secret)
        if new is None and (token_id := self._tokens.find(secret)):
            new = self._store.sign_in_with_token(token_id)
        if new is None:
            self._attempts.fail(_address(request))
            raise NotSignedIn("this link was used before, or is too old; `hive sign-in` prints a new one")
        session = Session(new)
        audit.identify(session.id)
        return session

    def _bearer(self, request: Request, secret: str) -> str:
        """Who it is. Raises `NotSignedIn`, and `TooManyAttempts`."""
        if hmac.compare_digest(secret.encode("utf-8", "replace"), self._api_token):
            return audit.LOCAL
        found = self._tokens.find(secret)
        if found is None:
            self._attempts.fail(_address(request))
            raise NotSignedIn("this token is wrong, revoked or too old; `hive token create` makes a new one")
        return found

    def keep(self, request: Request, response: Response, secret: str) -> None:
        """Give the browser its session."""
        secure = request.url.scheme == "https"
        response.set_cookie(self._cookie, secret, max_age=self._session_s, httponly=True, samesite="lax", secure=secure)

    def drop(self, response: Response, session: Session) -> None:
        self._store.sign_out(session.secret)
        response.delete_cookie(self._cookie)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def read_api_token(path: Path) -> str:
    """The token in `path`; made there when there is none."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            token = path.read_text().strip()
        else:
            token = secrets.token_urlsafe(32)
            with os.fdopen(handle, "w") as file:
                file.write(f"{token}\n")
    except OSError as error:
        raise SettingsError(f"cannot read or make the API token {path}: {error.strerror}") from error
    if not token:
        raise SettingsError(f"the API token {path} is empty; remove the file and start again")
    return token
