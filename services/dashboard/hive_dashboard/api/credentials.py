"""`/api/v1/credentials`: new passwords for the Redis users, and how far that is. No password passes here."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from hive_contracts import streams
from hive_contracts.credentials import CredentialsRotated, RotateCredentials
from hive_dashboard.parts import PartsOf

router = APIRouter(prefix="/credentials", tags=["credentials"])


class Progress(BaseModel):
    """None while this hive's have never been rotated."""

    rotation: CredentialsRotated | None


class Wish(BaseModel):
    """`names`: agents, and services by their Redis user; empty means everyone."""

    model_config = ConfigDict(extra="forbid")

    names: tuple[str, ...] = ()


@router.get("")
async def progress(parts: PartsOf) -> Progress:
    """How far the rotation is that was asked for last."""
    text = (await parts.bus.hash_all(streams.CREDENTIALS)).get(streams.REPORT_FIELD)
    return Progress(rotation=CredentialsRotated.model_validate_json(text) if text else None)


@router.post("", status_code=202)
async def rotate(parts: PartsOf, wish: Wish) -> Progress:
    """Begin to give new Redis passwords; answers when the supervisor has taken it on. Ask again for its progress."""
    await parts.commands.command(RotateCredentials(names=wish.names))
    return await progress(parts)
