"""`/stream`: the events of one page."""

import random
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from hive_contracts.errors import NotFound, Unavailable
from hive_dashboard.hub import Cursor
from hive_dashboard.live import agent_topic
from hive_dashboard.pages.shell import known_agent
from hive_dashboard.parts import Parts, PartsOf, SignedIn
from hive_dashboard.updates import HOME

RECHECK_S: Final = 10.0

router = APIRouter()


@router.get("/stream")
async def stream(
    request: Request,
    parts: PartsOf,
    _session: SignedIn,
    page: str,
    name: str = "",
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    if parts.hub.clients >= parts.config.max_streams:
        raise Unavailable("too many pages are open; close some, or raise max_streams in [dashboard] of hive.toml")
    topic = _topic(parts, page, name)
    cursor = Cursor.parse(last_event_id) or Cursor.parse(after)
    headers = {"x-accel-buffering": "no", "cache-control": "no-store"}
    chunks = _while_signed_in(parts, request, parts.hub.follow(topic, cursor))
    return StreamingResponse(chunks, media_type="text/event-stream", headers=headers)


async def _while_signed_in(parts: Parts, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Ends the stream of a session that was signed out, with the first chunk after `RECHECK_S`.

    Each stream asks at times of its own, so that those that began together do not keep all others waiting.
    """
    checked = time.monotonic() - random.uniform(0, RECHECK_S)
    async for chunk in chunks:
        if time.monotonic() - checked >= RECHECK_S:
            if parts.auth.session(request) is None:
                return
            checked = time.monotonic()
        yield chunk


def _topic(parts: Parts, page: str, name: str) -> str:
    match page:
        case "home":
            return HOME
        case "agent":
            return agent_topic(known_agent(parts, name).name)
        case _:
            raise NotFound(f"there are no events for {page[:40]!r}")
