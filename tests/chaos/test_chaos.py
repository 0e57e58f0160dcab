"""`hive debug chaos`, short: everything is killed again and again, and each message is handled once and in order."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

KINDS = {"broker", "supervisor", "dashboard", "redis", "harness", "engine"}


@pytest.mark.parametrize(("seed", "messages", "kills"), [(1, 300, 25), (20, 150, 12)])
def test_whatever_is_killed_each_message_is_handled_once_and_in_order(seed: int, messages: int, kills: int) -> None:
    found = chaos("--seed", str(seed), "--messages", str(messages), "--kills", str(kills), "--agents", "5")
    assert found["problems"] == {}
    assert found["passed"]
    assert found["handled"] + found["dead"] == found["recorded"] <= messages
    assert {kind for kind, one in found["recovery"].items() if one["kills"]} == KINDS
    assert sum(one["kills"] for one in found["recovery"].values()) == kills


def chaos(*options: str) -> dict[str, Any]:
    """What the command reports."""
    command = [sys.executable, "-m", "hive_cli", "debug", "chaos", *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=220)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
