"""`/api/v1/credentials`: new passwords for the Redis users, and how far that is. No password passes here."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from hive_contracts.credentials import CredentialsRotated, RotateCredentials
from hive_dashboard.parts import PartsOf
from hive_dashboard.reports import last_rotation

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
    return Progress(rotation=await last_rotation(parts.bus))


@router.post("", status_code=202)
async def rotate(parts: PartsOf, wish: Wish) -> Progress:
    """Begin to give new Redis passwords; answers when the supervisor has taken it on. Ask again for its progress."""
    await parts.commands.command(RotateCredentials(names=wish.names))
    return await progress(parts)
