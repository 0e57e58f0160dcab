"""`/api/v1/retention`: what the last sweep removed, and sweeps on demand."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from hive_contracts.errors import TimedOut
from hive_contracts.retention import RetentionSwept, SweepRetention
from hive_dashboard.parts import PartsOf
from hive_dashboard.reports import answered, last_sweep

router = APIRouter(prefix="/retention", tags=["retention"])


class Report(BaseModel):
    """None while this hive has not been swept yet."""

    report: RetentionSwept | None


class Wish(BaseModel):
    """`dry_run`: only tell what would go."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool


@router.get("")
async def last(parts: PartsOf) -> Report:
    """What the last sweep removed; dry runs do not count."""
    return Report(report=await last_sweep(parts.bus))


@router.post("")
async def sweep(parts: PartsOf, wish: Wish) -> Report:
    """Sweep now, or tell what would go; answers when that is done."""
    try:
        result = await parts.commands.command(SweepRetention(dry_run=wish.dry_run))
    except TimedOut as error:
        raise TimedOut(
            "the sweep is not done yet and goes on; see `hive retention --last` in a moment, and `hive logs supervisor`"
        ) from error
    return Report(report=answered(RetentionSwept, result))
