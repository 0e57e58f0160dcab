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
from hive_contracts.errors import Refused
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

    async def end_leftovers(self, report: Callable[[str], None]) -> list[str]:
        """The names of those that were written down earlier and still lived; none does any more. Raises `Refused`."""
        left = sorted(self.alive())
        if not left:
            return []
        report("waiting for the processes of a hive that was killed")
        try:
            async with asyncio.timeout(GRACE_S):
                while self.alive():  # noqa: ASYNC110  other processes end when they like
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            for name, (pid, began) in self.alive().items():
                _kill(name, pid, began)
            while self.alive():  # noqa: ASYNC110  the kernel needs a moment
                await asyncio.sleep(POLL_S)
        return left

    def alive(self) -> dict[str, tuple[int, str]]:
        """Those that were written down and still live: name → pid and start time."""
        try:
            written = json.loads(self._path.read_text())
            found = {str(name): (int(pid), str(began)) for name, (pid, began) in written.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}
        return {
            name: (pid, began)
            for name, (pid, began) in found.items()
            if start_time(pid) == began and not has_ended(pid)
        }


def _kill(name: str, pid: int, began: str) -> None:
    """That process and no other, should its pid be given away just now."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) == began:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise Refused(
            f"the {name} (pid {pid}) of a hive that was killed is another user's; end it as that user"
        ) from error
    finally:
        os.close(handle)
