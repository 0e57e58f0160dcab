"""`/metrics`: the hive's figures in Prometheus' text form, for the API token, a session, or a token for this alone."""

import asyncio
import hmac
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from hive_contracts.errors import HiveError
from hive_dashboard.metrics import Moment
from hive_dashboard.parts import Parts, PartsOf
from hive_dashboard.reports import last_sweep

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TOKEN: Final = "metrics-token"  # noqa: S105 - the name of its file

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response)
async def metrics(parts: PartsOf, request: Request) -> Response:
    """Names of agents and what they cost are in it, so it is not open to all."""
    if not await asyncio.to_thread(_has_own_token, request, parts.data_dir / "secrets" / TOKEN):
        parts.auth.require_api(request)
    moment = Moment(
        parts.snapshots.current,
        clients=parts.hub.clients,
        oldest=await asyncio.to_thread(_oldest, parts),
        swept_at=await _swept_at(parts),
    )
    return Response(parts.metrics.text(moment), media_type=CONTENT_TYPE)


def _has_own_token(request: Request, path: Path) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return False
    own = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return scheme.lower() == "bearer" and bool(token) and own


def _oldest(parts: Parts) -> dict[str, float]:
    now = time.time()
    try:
        return {name: max(0.0, now - at / 1000) for name, at in parts.messages.oldest_undone().items()}
    except HiveError:
        return {}


async def _swept_at(parts: Parts) -> datetime | None:
    try:
        report = await last_sweep(parts.bus)
    except HiveError:
        return None
    return report.at if report else None
