"""Python runs this at its start when it finds it on its path: a supervisor ends, as by `kill -9`, before a chosen line.

The file that `$KILL_PLAN` names says before which: `file:function:line`. It is removed as it strikes, so the next
supervisor lives. `$KILL_IN` lists the functions that are watched, as `file:function`.
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
    if event == "line" and plan.exists() and plan.read_text() == f"{place(frame)}:{frame.f_lineno}":
        plan.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return on_line


def on_call(frame: FrameType, _: str, __: Any) -> Any:
    return on_line if place(frame) in watched else None


def place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_code.co_name}"


if "hive_supervisor" in sys.orig_argv and watched:
    threading.settrace(on_call)
    sys.settrace(on_call)
