"""What an agent holds opens no page and no call of the dashboard, in whatever place it is put."""

import json
from pathlib import Path

import httpx
import pytest
from tests.support.hive import Hive, hive

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PAGES = ("/", "/agents/hm1nd", "/audit", "/settings/access", "/stream?page=home")
CALLS = ("/api/v1/status", "/api/v1/agents/hm1nd/state", "/api/v1/audit", "/api/v1/tokens", "/agents/hm1nd/api/state")


def credentials_of(running: Hive, agent: str) -> list[str]:
    """Its Redis password, and every token that its harness gives its engine."""
    found = [(running.data_dir / "secrets" / f"redis-agent-{agent}").read_text().strip()]
    for path in (running.data_dir / "agents" / agent / "run").rglob("*"):
        if path.is_file():
            found += _strings(path)
    return found


def _strings(path: Path) -> list[str]:
    text = path.read_text()
    try:
        values = [json.loads(text)]
    except ValueError:
        return text.split()
    strings: list[str] = []
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            strings.append(value.removeprefix("Bearer "))
    return strings


def test_no_credential_of_an_agent_lets_it_in() -> None:
    with hive() as running:
        secrets = credentials_of(running, "hm1nd")
        assert len(secrets) >= 2
        port = running.address.rpartition(":")[2]
        for secret in secrets:
            presented = (
                {"authorization": f"Bearer {secret}"},
                {"authorization": secret},
                {"cookie": f"hive_session_{port}={secret}"},
                {"x-csrf-token": secret},
            )
            for headers in presented:
                with httpx.Client(base_url=running.address, headers={**headers, "x-forwarded-for": secret[:8]}) as http:
                    assert {http.get(page).status_code for page in PAGES} <= {303, 401}
                    assert {http.get(call).status_code for call in CALLS} <= {401, 429}
                    assert http.post("/api/v1/agents/hm1nd/stop").status_code in {401, 429}
                    assert http.post("/agents/hm1nd/stop", data={"csrf": secret}).status_code == 303
            with httpx.Client(base_url=running.address) as http:
                assert http.get("/sign-in", params={"token": secret[:200]}).status_code in {401, 429}
                assert http.post("/sign-in", data={"token": secret}).status_code in {401, 429}
                assert http.get("/").status_code == 303
        assert running.api("GET", "/agents/hm1nd")["desired"] == "running"
