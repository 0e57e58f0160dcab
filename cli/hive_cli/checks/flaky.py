"""Second tries of tests, under CI alone, and never hidden. A pytest plugin beside pytest-rerunfailures.

One test in thousands that a loaded machine lets fail must not throw away a whole run, and yet be mended: each is named.
"""

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest import TerminalReporter

RERUNS: Final = 2
MARK: Final = "flaky: "


def rerun_arguments() -> tuple[str, ...]:
    """What pytest is given: under `CI=true` a failed test runs again, at most `RERUNS` times; elsewhere nothing."""
    if os.environ.get("CI") != "true":
        return ()
    return (f"--reruns={RERUNS}", "--rerun-show-tracebacks", "-p", __name__)


def pytest_terminal_summary(terminalreporter: "TerminalReporter") -> None:
    """A line for each test that passed only when it ran again; one that never passed is among the failures."""
    failed = {report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])}
    tries = Counter(report.nodeid for report in terminalreporter.stats.get("rerun", []))
    for name, times in sorted(tries.items()):
        if name not in failed:
            terminalreporter.write_line(f"{MARK}{name} passed at try {times + 1}; mend it", yellow=True)
