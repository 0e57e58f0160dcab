"""`/agents/<name>/stats`: an agent's figures over time, as charts and as tables."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from hive_dashboard.errors import InvalidRequest
from hive_dashboard.figures import RANGES, Range, figures_of
from hive_dashboard.live import agent_topic
from hive_dashboard.pages.shell import known_agent, make_shell
from hive_dashboard.parts import PartsOf, SignedIn
from hive_dashboard.views.agent import StatsPage
from hive_runtime.records.stats import StatsReader

DEFAULT: Final = "24h"

router = APIRouter(prefix="/agents/{name}")


@router.get("/stats", response_class=HTMLResponse)
async def stats(
    parts: PartsOf, session: SignedIn, name: str, span: Annotated[str, Query(alias="range", max_length=8)] = DEFAULT
) -> str:
    agent, shown, now = known_agent(parts, name), _range(span), datetime.now(UTC)
    reader = StatsReader(parts.data_dir / "agents" / agent.name / "events.sqlite")
    steps = shown.steps(now)
    figures = await asyncio.to_thread(figures_of, reader, steps, now)
    path = f"/agents/{agent.name}/stats?range={shown.name}"
    shell = make_shell(
        parts,
        session,
        f"Figures of {agent.name}",
        path=path,
        topic=agent_topic(agent.name),
        stream=f"page=agent&name={agent.name}",
    )
    view = StatsPage(
        shell, agent=agent, figures=figures, shown=shown.name, ranges=tuple(one.name for one in RANGES), steps=steps
    )
    return parts.renderer.page(view)


def _range(name: str) -> Range:
    """Raises `InvalidRequest`."""
    for one in RANGES:
        if one.name == name:
            return one
    raise InvalidRequest(f"range is not valid: it is one of {', '.join(one.name for one in RANGES)}")
