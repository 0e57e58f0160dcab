"""problem+json (RFC 9457): the one shape of every error that a program is answered with."""

from http import HTTPStatus
from typing import Final

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

PROBLEM: Final = "application/problem+json"
PROGRAMS: Final = frozenset({"/stream", "/healthz", "/readyz", "/version", "/metrics"})


class Problem(BaseModel):
    """Why a call was not carried out. `code` is stable; `detail` is one sentence that says what to do."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    code: str
    detail: str


def problem(status: int, code: str, detail: str) -> JSONResponse:
    body = Problem(title=phrase(status), status=status, code=code, detail=detail).model_dump()
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status_code=status, media_type=PROBLEM, headers=headers)


def is_for_programs(path: str) -> bool:
    """Whether what is at this address is asked for by programs, not by people."""
    return "/api/" in path or path in PROGRAMS


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
