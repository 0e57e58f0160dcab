"""The application: routes over the parts, errors mapped at one edge, the guard around everything."""

from functools import cache
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from hive_contracts.agents import AgentState
from hive_dashboard import answers, openapi
from hive_dashboard.api import (
    access,
    agents,
    alerts,
    approvals,
    audit,
    configs,
    control,
    credentials,
    dead_letters,
    drafts,
    health,
    kept,
    messages,
    metrics,
    questions,
    retention,
    sign_in_links,
    stats,
    status,
)
from hive_dashboard.api import terminal as terminal_api
from hive_dashboard.audit import Audited
from hive_dashboard.idempotency import Remembered
from hive_dashboard.openapi import PROBLEMS
from hive_dashboard.pages import access as access_pages
from hive_dashboard.pages import agent as agent_page
from hive_dashboard.pages import alerts as alert_pages
from hive_dashboard.pages import approvals as approval_pages
from hive_dashboard.pages import config as config_pages
from hive_dashboard.pages import dead_letters as dead_letter_pages
from hive_dashboard.pages import drafts as draft_pages
from hive_dashboard.pages import event as event_page
from hive_dashboard.pages import home, palette, settings, sign_in, stream, terminal
from hive_dashboard.pages import messages as message_pages
from hive_dashboard.pages import questions as question_pages
from hive_dashboard.pages import retention as retention_pages
from hive_dashboard.pages import stats as stats_page
from hive_dashboard.pages import turns as turns_page
from hive_dashboard.parts import Parts, PartsOf, With, api_client
from hive_dashboard.render import STATIC
from hive_dashboard.security import Guard
from hive_runtime import VERSION

PREFIX: Final = "/api/v1"
ABOUT: Final = "The operator's API of a hive of coding agents. What an agent wrote, anywhere in it, is untrusted text."


class VersionedFiles(StaticFiles):
    """Files whose address changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def create_app(parts: Parts) -> ASGIApp:
    """The dashboard as an ASGI application."""
    remembered = Remembered(_routes(), parts.answers)
    audited = Audited(remembered, audit=parts.audit, clock=parts.clock)
    return Guard(With(parts, audited), hosts=(parts.config.host, *parts.config.allowed_hosts))


def described() -> dict[str, Any]:
    """The API as `/api/v1/openapi.json` describes it."""
    return _routes().openapi()


@cache
def _routes() -> FastAPI:
    """All of them, over no parts yet: to build them takes longer than most requests."""
    app = FastAPI(
        title="hyperhive",
        version=VERSION,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    answers.install(app)
    openapi.describe(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(_api())
    app.include_router(_named_elsewhere())
    for router in (
        home.router,
        config_pages.router,
        terminal.router,
        agent_page.router,
        event_page.router,
        turns_page.router,
        stats_page.router,
        message_pages.router,
        alert_pages.router,
        dead_letter_pages.router,
        question_pages.router,
        approval_pages.router,
        draft_pages.router,
        access_pages.router,
        palette.router,
        retention_pages.router,
        settings.router,
        sign_in.router,
        stream.router,
    ):
        app.include_router(router, include_in_schema=False)
    app.mount("/static", GZipMiddleware(VersionedFiles(directory=STATIC, check_dir=False)))
    return app


def _api() -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(api_client)], responses=PROBLEMS)
    about_agents = (stats, control, configs, kept, agents, messages, dead_letters, questions, approvals, drafts, alerts)
    for noun in (status, *about_agents, retention, credentials, sign_in_links, access, audit, terminal_api):
        router.include_router(noun.router)
    return router


def _named_elsewhere() -> APIRouter:
    """Addresses that the user's documents name besides the API's own."""
    router = APIRouter(dependencies=[Depends(api_client)], include_in_schema=False)

    @router.get("/agents/{name}/api/state")
    async def state(parts: PartsOf, name: str) -> AgentState:
        return await agents.state(parts, name)

    router.add_api_route("/agents/{name}/api/stats", stats.stats, methods=["GET"], response_model=stats.Stats)

    return router
