"""The clock: times of messages, naps and limits stand on it, over restarts."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_cli.doctor.site import Site
from hive_runtime.checkup import EVERYTHING, Finding, State

TOLERATED_S: Final = 120.0
FIX: Final = "set the clock, and let the machine keep it: timedatectl set-ntp true"


def look(site: Site) -> Iterator[Finding]:
    now = time.time()
    newest = max((_written(path) for path in (Path(__file__), *site.data.root.glob("*"))), default=0.0)
    if newest - now > TOLERATED_S:
        text = f"it stands {newest - now:.0f} s before times that this hive has written down already"
        yield Finding(EVERYTHING, "clock", State.WRONG, text, FIX)
        return
    yield Finding(
        EVERYTHING, "clock", State.OK, f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}, not before what was written"
    )


def _written(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0
