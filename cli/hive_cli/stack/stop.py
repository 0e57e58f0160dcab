"""`hive down`: ask the running hive to stop, and wait until it has."""

import os
import signal
import time
from typing import Final

from hive_cli.errors import NotRunning
from hive_cli.paths import DataDir
from hive_cli.stack.lock import running_pid
from hive_cli.stack.managed import STOPS, manager_of
from hive_contracts.errors import Refused, TimedOut

STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.05


def stop_running(data: DataDir) -> int:
    """Returns the pid of the hive that was stopped. Raises `NotRunning`, `Refused`, `TimedOut`."""
    pid = running_pid(data)
    if pid is None and (manager := manager_of(data)):
        how = f"with `{STOPS[manager]}`" if manager in STOPS else "there"
        raise Refused(f"{manager} started the services of {data.root}; stop them {how}")
    if pid is None:
        raise NotRunning(f"no hive is running with the data directory {data.root}; name another's with --data-dir")
    try:
        if pid:
            os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise Refused(f"the hive (pid {pid}) belongs to another user; stop it as that user") from error
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running_pid(data) is not None:
        if time.monotonic() > deadline:
            raise TimedOut(f"the hive (pid {pid}) did not stop within {STOP_TIMEOUT_S:.0f} s; look at its terminal")
        time.sleep(POLL_S)
    return pid
