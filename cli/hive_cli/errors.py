"""Errors of the command line, and the exit code of every error.

HiveError
├── NotRunning    no hive runs on this data directory                  exit 6
├── ApiProblem    the dashboard's API said no; carries its HTTP status
└── UsageProblem  the command line or its input is wrong               exit 2
"""

from typing import Final

from hive_contracts.errors import HiveError
from hive_runtime.errors import SettingsError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
REFUSED: Final = 4
TIMED_OUT: Final = 5
NOT_RUNNING: Final = 6
INTERRUPTED: Final = 130

_BY_STATUS: Final = {
    202: TIMED_OUT,
    400: USAGE,
    404: NOT_FOUND,
    408: TIMED_OUT,
    422: USAGE,
    504: TIMED_OUT,
    507: REFUSED,
}


class NotRunning(HiveError):
    code = "not_running"
    status = 503


class UsageProblem(HiveError):
    code = "usage"
    status = 400


class ApiProblem(HiveError):
    """`http_status` and `problem_code` as the server gave them."""

    def __init__(self, detail: str, *, http_status: int, problem_code: str = "") -> None:
        super().__init__(detail)
        self.http_status = http_status
        self.problem_code = problem_code


def exit_code_of_status(status: int) -> int:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 300:
        return DONE
    return REFUSED if 400 <= status < 500 else FAILED


def exit_code_of(error: HiveError) -> int:
    if isinstance(error, NotRunning):
        return NOT_RUNNING
    if isinstance(error, SettingsError):
        return USAGE
    return exit_code_of_status(error.http_status if isinstance(error, ApiProblem) else error.status)
