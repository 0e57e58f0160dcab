"""Python runs this at its start when it finds it on its path: a process ends, as by `kill -9`, at a chosen line.

The file that `$KILL_PLAN` names says before which: `file:function:line`, one a line. The first strikes, and is taken
out of the file as it does; with the last one the file goes. `$KILL_IN` lists the watched functions: `file:function`.
`$KILL_WHO` is the module that the process runs, the supervisor's unless it says otherwise.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

plan = Path(os.environ.get("KILL_PLAN", ""))
watched = frozenset(os.environ.get("KILL_IN", "").split())


def on_line(frame: FrameType, event: str, _: Any) -> Any:
    if event == "line" and plan.exists():
        first, *others = plan.read_text().splitlines()
        if first == f"{place(frame)}:{frame.f_lineno}":
            take_out(others)
            os.kill(os.getpid(), signal.SIGKILL)
    return on_line


def take_out(others: list[str]) -> None:
    if others:
        partial = plan.with_suffix(".partial")
        partial.write_text("\n".join(others))
        partial.replace(plan)
    else:
        plan.unlink()


def on_call(frame: FrameType, _: str, __: Any) -> Any:
    return on_line if place(frame) in watched else None


def place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_code.co_name}"


if watched and os.environ.get("KILL_WHO", "hive_supervisor") in sys.orig_argv:
    threading.settrace(on_call)
    sys.settrace(on_call)
