"""The HTTP edge of errors: problem+json for programs, a page for people, a remark in place for htmx."""

from http import HTTPStatus
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from hive_contracts.errors import HiveError
from hive_dashboard.errors import NotSignedIn
from hive_dashboard.idempotency import Replay
from hive_dashboard.parts import look_of_request, parts_of
from hive_dashboard.problems import is_for_programs, phrase, problem
from hive_dashboard.views.shell import ErrorPage, Flash, FlashFragment, Shell

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Map every exception of `app`."""
    app.add_exception_handler(HiveError, _on_hive_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Replay, _on_replay)
    app.add_exception_handler(Exception, _on_unexpected)


def is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def answer(request: Request, status: int, code: str, detail: str) -> Response:
    if _is_program(request):
        return problem(status, code, detail)
    if is_htmx(request):
        flash = FlashFragment((Flash(_sentence(detail), "bad"),))
        headers = {"HX-Retarget": "#flash", "HX-Reswap": "innerHTML"}
        return HTMLResponse(parts_of(request).renderer.page(flash), headers=headers)
    return _error_page(request, status, detail)


def _is_program(request: Request) -> bool:
    return is_for_programs(request.url.path)


def _error_page(request: Request, status: int, detail: str) -> Response:
    parts = parts_of(request)
    session = parts.auth.session(request)
    csrf = session.csrf if session else ""
    shell = Shell(title=phrase(status), path="", csrf=csrf, look=look_of_request(request))
    view = ErrorPage(shell, status=status, heading=phrase(status), detail=_sentence(detail))
    return HTMLResponse(parts.renderer.page(view), status_code=status)


async def _on_hive_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HiveError)  # noqa: S101 - registered for this class
    if isinstance(error, NotSignedIn) and not _is_program(request):
        return _to_sign_in(request)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", path=request.url.path, code=error.code, reason=str(error))
    return answer(request, error.status, error.code, str(error))


def _to_sign_in(request: Request) -> Response:
    if is_htmx(request):
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": "/sign-in"})
    there = request.url.path if request.method == "GET" else "/"
    return RedirectResponse(f"/sign-in?next={quote(there)}", status_code=HTTPStatus.SEE_OTHER)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request body"
    detail = f"{place} is not valid: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    details = {
        404: "there is no such page; go back to the hive and follow a link",
        405: "this address does not do that",
    }
    detail = details.get(error.status_code, str(error.detail))
    code = phrase(error.status_code).lower().replace(" ", "_")
    response = answer(request, error.status_code, code, detail)
    response.headers.update(error.headers or {})
    return response


async def _on_replay(_: Request, error: Exception) -> Response:
    assert isinstance(error, Replay)  # noqa: S101 - registered for this class
    return error.response


async def _on_unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    detail = "the dashboard made a mistake; its log says which: `hive logs dashboard`"
    return answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "error", detail)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
