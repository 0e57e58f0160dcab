"""Errors that cross a process boundary: whatever their code, they say on the other side what was said on this one."""

import pytest

from hive_contracts import agent_file
from hive_contracts.errors import HiveError, error_from_code

OURS = [kind for kind in HiveError.__subclasses__() if kind.__module__ == HiveError.__module__ and "code" in vars(kind)]
CODES = sorted({agent_file.InvalidAgentFile.code, *(kind.code for kind in OURS)})


@pytest.mark.parametrize("code", CODES)
def test_an_error_says_the_same_on_the_other_side(code: str) -> None:
    assert str(error_from_code(code, "agent.toml:2: no such key")) == "agent.toml:2: no such key"
