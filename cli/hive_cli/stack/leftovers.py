"""What an earlier `hive up` left running when it was killed: its children are on their way out; wait, then make sure.

Two servers on one append-only file, or two supervisors, would do harm. A pid alone may have been given to another
process since, so each is kept with its start time.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hive_cli.stack.data_dir import write_private
from hive_runtime.process import has_ended, start_time

GRACE_S: Final = 5.0
POLL_S: Final = 0.02


class ProcessBook:
    """`run/processes.json`: the child processes of the hive that last held the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started: dict[str, tuple[int, str | None]] = {}

    def started(self, name: str, pid: int) -> None:
        self._started[name] = (pid, start_time(pid))
        write_private(self._path, json.dumps(self._started))

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    async def end_leftovers(self, report: Callable[[str], None]) -> None:
        """Returns when none of the processes written down earlier lives."""
        if not self.alive():
            return
        report("waiting for the processes of a hive that was killed")
        try:
            async with asyncio.timeout(GRACE_S):
                while self.alive():  # noqa: ASYNC110  other processes end when they like
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            for pid in self.alive():
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> list[int]:
        """Those that were written down and still live."""
        try:
            written = json.loads(self._path.read_text())
            pairs = [(int(pid), str(began)) for pid, began in written.values()]
        except (OSError, ValueError, AttributeError, TypeError):
            return []
        return [pid for pid, began in pairs if start_time(pid) == began and not has_ended(pid)]
