"""A real Chromium for the tests of a file."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.support.chromium import chromium, missing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as opened:
        yield opened
