"""`/api/v1/status`: how the hive is."""

import time

from fastapi import APIRouter
from pydantic import BaseModel

from hive_contracts.agents import ContainerStatus, HiveInfo
from hive_dashboard.parts import PartsOf
from hive_dashboard.registry import ServiceView
from hive_dashboard.snapshot import RedisStatus
from hive_runtime import VERSION

router = APIRouter(tags=["status"])

_STARTED = time.monotonic()


class RedisHealth(BaseModel):
    """`status`: ok, away or full."""

    status: str
    detail: str


class Drain(BaseModel):
    """`active`: nothing new is taken on; `reason` says why."""

    active: bool
    reason: str


class AgentTotals(BaseModel):
    total: int
    running: int
    thinking: int
    quarantined: int
    needs_update: int


class Status(BaseModel):
    version: str
    uptime_seconds: float
    redis: RedisHealth
    drain: Drain
    services: tuple[ServiceView, ...]
    agents: AgentTotals
    info: HiveInfo | None
    warnings: tuple[str, ...]


@router.get("/status")
async def status(parts: PartsOf) -> Status:
    """How the hive is: services, Redis, totals, warnings."""
    now = parts.snapshots.current
    drain = now.redis_detail if now.redis is RedisStatus.FULL else now.drain
    return Status(
        version=VERSION,
        uptime_seconds=round(time.monotonic() - _STARTED, 1),
        redis=RedisHealth(status=now.redis, detail=now.redis_detail),
        drain=Drain(active=bool(drain), reason=drain),
        services=now.services,
        agents=AgentTotals(
            total=len(now.agents),
            running=sum(agent.running for agent in now.agents),
            thinking=now.thinking,
            quarantined=sum(agent.container is ContainerStatus.QUARANTINED for agent in now.agents),
            needs_update=sum(bool(agent.needs_update) for agent in now.agents),
        ),
        info=now.info,
        warnings=now.warnings,
    )
