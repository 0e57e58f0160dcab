"""Errors of the harness.

Refused (contracts)
├── NotInTurn        a tool that only makes sense inside a turn
└── GitFailed        git did not do what a tool asked of it
Unavailable (contracts)
└── EngineMissing    the engine's program cannot be started
"""

from hive_contracts.errors import Refused, Unavailable


class NotInTurn(Refused):
    code = "not_in_turn"


class GitFailed(Refused):
    code = "git_failed"


class EngineMissing(Unavailable):
    code = "engine_missing"
