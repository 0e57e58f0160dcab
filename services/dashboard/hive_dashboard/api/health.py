"""`/healthz`, `/readyz` and `/version`: for whoever starts and watches the dashboard; open to all."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from hive_dashboard.parts import PartsOf
from hive_dashboard.snapshot import RedisStatus
from hive_runtime import VERSION

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(parts: PartsOf) -> JSONResponse:
    """The dashboard has seen Redis and can be worked with."""
    now = parts.snapshots.current
    ready = now.redis is RedisStatus.OK
    return JSONResponse(
        {"status": "ready" if ready else "not ready", "detail": now.redis_detail},
        status_code=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


@router.get("/version")
async def version() -> dict[str, str]:
    """The version of the hive."""
    return {"version": VERSION}
