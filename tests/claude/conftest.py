"""The real Claude Code CLI and a model server of the test's own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.claude_cli import NoClaude, claude_program
from tests.support.model_server import ModelServer


@pytest.fixture(scope="session")
def claude() -> Path:
    try:
        return claude_program()
    except NoClaude as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server
