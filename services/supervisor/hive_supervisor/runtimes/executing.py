"""A command that a back-end runs inside a container, to its end or to its time limit."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from hive_contracts.errors import TimedOut
from hive_supervisor.runtimes.base import OUTPUT_LIMIT, Executed


async def run_bounded(
    words: Sequence[str], environment: Mapping[str, str], folder: Path | None, timeout_s: float
) -> Executed:
    """Raises `TimedOut`; then it is killed, with all of its process group."""
    process = await asyncio.create_subprocess_exec(
        *words,
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise TimedOut(f"{words[-1]} did not end within {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        ended = await process.wait()
    status = ended if ended >= 0 else 128 - ended
    return Executed(status, output[-OUTPUT_LIMIT:].decode(errors="replace"))
