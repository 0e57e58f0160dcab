"""`docs/api.md` lists every call of the API and what it does, and no other; its served description is whole."""

import re
from pathlib import Path
from typing import Any

import pytest

from hive_dashboard.app import described

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
OPEN = {"/healthz", "/readyz", "/version", "/metrics"}


def calls() -> dict[tuple[str, str], dict[str, Any]]:
    paths = described()["paths"]
    return {(method.upper(), path): one for path, several in paths.items() for method, one in several.items()}


def row(method: str, path: str, call: dict[str, Any]) -> str:
    words = " ".join(call["description"].split())
    return f"| `{method}` | `{path.removeprefix('/api/v1')}` | {words} |"


@pytest.mark.slow
def test_the_page_has_a_row_for_every_call_and_no_other() -> None:
    wanted = sorted(row(*where, call) for where, call in calls().items())
    found = sorted(
        line for line in PAGE.read_text().splitlines() if re.match(r"\| `(GET|POST|PUT|DELETE|PATCH)`", line)
    )
    assert found == wanted, "the table is:\n" + "\n".join(wanted)


def test_every_call_wants_a_token_and_may_answer_with_a_problem() -> None:
    for (method, path), call in calls().items():
        if path in OPEN:
            continue
        assert call["security"] == [{"token": []}], path
        for code in ("4XX", "5XX"):
            assert "application/problem+json" in call["responses"][code]["content"], path
        keys = [one for one in call.get("parameters", ()) if one["name"] == "Idempotency-Key"]
        assert len(keys) == (method == "POST"), path


def test_every_list_says_where_it_goes_on() -> None:
    schemas = described()["components"]["schemas"]
    whole = {"AlertList", "DraftList", "KeptList", "SessionList"}
    lists = {name for name in schemas if re.search(r"(List|Page)$", name)}
    assert lists >= {"AgentList", "EventList", "MessageList", "QuestionList", "ApprovalList", "DeadLetterList"}
    for name in lists - whole:
        assert "next" in schemas[name]["properties"], name
