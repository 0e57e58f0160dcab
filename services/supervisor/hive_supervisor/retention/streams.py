"""The sweep over streams: every stream there is, whoever it belongs to."""

import structlog

from hive_contracts.errors import HiveError
from hive_contracts.retention import Swept
from hive_runtime.trim import Trimmer, TrimRule
from hive_supervisor.retention.policy import Policy

log = structlog.get_logger()


async def sweep_streams(trimmer: Trimmer, policy: Policy, *, dry_run: bool) -> list[Swept]:
    """One account per stream. What fails is told in its account, and the next one is swept."""
    try:
        names = await trimmer.streams()
    except HiveError as error:
        return [Swept(name="hive:*", error=str(error))]
    rules = [(name, rule) for name in names if (rule := policy.stream(name))]
    return [await _sweep(trimmer, name, rule, dry_run=dry_run) for name, rule in rules]


async def _sweep(trimmer: Trimmer, name: str, rule: TrimRule, *, dry_run: bool) -> Swept:
    removed = freed = 0
    try:
        length, size = await trimmer.length(name), await trimmer.size(name)
        if dry_run:
            removed = await trimmer.count_done(name, rule)
            return Swept(name=name, kept=length - removed, removed=removed, bytes_freed=_part(size, removed, length))
        async for some in trimmer.trim(name, rule):
            removed += some
        if removed:
            freed = max(0, size - await trimmer.size(name))
        return Swept(name=name, kept=await trimmer.length(name), removed=removed, bytes_freed=freed)
    except HiveError as error:
        log.warning("stream not swept", stream=name, code=error.code, reason=str(error))
        return Swept(name=name, removed=removed, bytes_freed=freed, error=str(error))


def _part(size: int, removed: int, length: int) -> int:
    return size * removed // length if length else 0
