"""The description of the API at /api/v1/openapi.json: FastAPI's, made true where it does not know better.

Every call may answer with a problem; a bearer token is wanted, or a session; every post takes an `Idempotency-Key`.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hive_dashboard.idempotency import HEADER, MAX_KEY
from hive_dashboard.problems import PROBLEM, Problem

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    code: {
        "description": words,
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code, words in (("4XX", "Not so: `code` and `detail` say why."), ("5XX", "Not now: try again later."))
}
"""For `responses` of a router."""

_KEY: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same key does the same thing once, for 24 hours; see docs/api.md.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def describe(app: FastAPI) -> None:
    """Have `app` serve this description."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/api/"):
                operation["security"] = [{"token": []}]
                if method == "post":
                    others = [one for one in operation.get("parameters", ()) if one["name"].lower() != HEADER.lower()]
                    operation["parameters"] = [*others, _KEY]
    return schema
