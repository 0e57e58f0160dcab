"""How the supervisor's own programs answer the command line, which runs them: one line of JSON on standard output."""

import json
import sys
from collections.abc import Callable

from hive_contracts.errors import HiveError


def tell(work: Callable[[], object]) -> int:
    """`{"done": …}` with what `work` returns, or `{"error", "code", "status"}` of its `HiveError`; the exit status."""
    try:
        answer: dict[str, object] = {"done": work()}
    except HiveError as error:
        answer = {"error": str(error), "code": error.code, "status": error.status}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0
