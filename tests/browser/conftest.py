"""A real Chromium for the tests of a file, and a stage for those that play a hive of their own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.stage import Play, played
from tests.support.chromium import chromium, missing
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture
def play(redis: RedisServer, tmp_path: Path) -> Callable[[Play], None]:
    """Runs a scenario on a stage; what the browser's console complained of fails it."""
    return lambda scenario: played(redis, tmp_path, scenario)
