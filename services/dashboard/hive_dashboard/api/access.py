"""`/api/v1/tokens` and `/api/v1/sessions`: who may come in, and taking that back."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from hive_dashboard.audit import acted
from hive_dashboard.parts import PartsOf
from hive_dashboard.store import SessionView
from hive_dashboard.store_tokens import TokenView

MAX_DAYS = 3650

router = APIRouter(tags=["access"])


class TokenList(BaseModel):
    """`next`: give it as `before` for what is older; null when there is nothing."""

    tokens: list[TokenView]
    next: str | None = None


class NewToken(BaseModel):
    """`days`: it runs out after so many; null: never."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
    days: int | None = Field(default=None, ge=1, le=MAX_DAYS)


class MadeToken(BaseModel):
    """`secret` is shown this once; what is kept is its hash."""

    token: TokenView
    secret: str


class SessionList(BaseModel):
    sessions: list[SessionView]


@router.get("/tokens")
def tokens(
    parts: PartsOf,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> TokenList:
    """Tokens, newest first, revoked ones too."""
    found = parts.tokens.all(before=before, limit=limit)
    return TokenList(tokens=found, next=found[-1].id if len(found) == limit else None)


@router.post("/tokens", status_code=HTTPStatus.CREATED)
def make(parts: PartsOf, new: NewToken) -> MadeToken:
    """Make a token; its secret is in this answer and nowhere else."""
    with acted("token.create", new.name, f"{new.days} days" if new.days else ""):
        token, secret = parts.tokens.make(new.name, days=new.days)
    return MadeToken(token=token, secret=secret)


@router.delete("/tokens/{token_id}")
def revoke(parts: PartsOf, token_id: str) -> TokenView:
    """Revoke it: it lets nobody in any more, and whoever signed in with it is signed out. Idempotent."""
    with acted("token.revoke", token_id):
        return parts.tokens.revoke(token_id)


@router.get("/sessions")
def sessions(parts: PartsOf) -> SessionList:
    """The browsers that are signed in, newest first."""
    return SessionList(sessions=parts.store.all())


@router.delete("/sessions/{session_id}", status_code=HTTPStatus.NO_CONTENT)
def end(parts: PartsOf, session_id: str) -> None:
    """Sign a browser out."""
    with acted("session.end", session_id):
        parts.store.end(session_id)
