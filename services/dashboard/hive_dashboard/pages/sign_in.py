"""`/sign-in` and `/sign-out`."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hive_contracts.errors import HiveError
from hive_dashboard.pages.shell import local_path
from hive_dashboard.parts import Parts, PartsOf, SignedIn, look_of_request, parts_of
from hive_dashboard.views.shell import Shell, SignInPage

router = APIRouter()


@router.get("/sign-in")
async def sign_in(
    request: Request,
    parts: PartsOf,
    token: Annotated[str, Query(max_length=200)] = "",
    next_path: Annotated[str, Query(alias="next", max_length=500)] = "/",
) -> Response:
    if token:
        return _try(request, parts, token, next_path)
    return _page(request, next_path)


@router.post("/sign-in")
async def sign_in_by_form(
    request: Request,
    parts: PartsOf,
    token: Annotated[str, Form(max_length=2000)] = "",
    next_path: Annotated[str, Form(alias="next", max_length=500)] = "/",
) -> Response:
    return _try(request, parts, _token_in(token), next_path)


@router.post("/sign-out")
async def sign_out(parts: PartsOf, session: SignedIn) -> Response:
    response = RedirectResponse("/sign-in", status_code=HTTPStatus.SEE_OTHER)
    parts.auth.drop(response, session)
    return response


def _try(request: Request, parts: Parts, token: str, next_path: str) -> Response:
    try:
        session = parts.auth.sign_in(request, token)
    except HiveError as error:
        return _page(request, next_path, error=str(error), status=error.status)
    response = RedirectResponse(local_path(next_path), status_code=HTTPStatus.SEE_OTHER)
    parts.auth.keep(request, response, session.secret)
    return response


def _page(request: Request, next_path: str, *, error: str = "", status: int = HTTPStatus.OK) -> Response:
    sentence = f"{error[:1].upper()}{error[1:]}." if error else ""
    view = SignInPage(Shell(title="Sign in", look=look_of_request(request)), error=sentence, next=local_path(next_path))
    return HTMLResponse(parts_of(request).renderer.page(view), status_code=status)


def _token_in(text: str) -> str:
    """The token itself, or the one in a pasted link."""
    found = parse_qs(urlsplit(text.strip()).query).get("token")
    return found[0] if found else text.strip()
