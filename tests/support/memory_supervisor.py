"""A supervisor whose containers are in memory, in a process of its own, to be killed; then comes the next.

`python -m tests.support.memory_supervisor DATA URL USER PASSWORD`: all is imported once, then each is forked. A
container whose model is `broken` does not come up.
"""

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.supervisor.test_service import supervisor

from hive_runtime.process import die_with_parent
from hive_runtime.redis_url import RedisAddress
from hive_supervisor.runtimes.memory import MemoryRuntime


async def serve(data_dir: str, url: str, user: str, password: str) -> None:
    runtime = MemoryRuntime(program=lambda spec: 3 if spec.environment["HIVE_MODEL"] == "broken" else None)
    async with supervisor(Path(data_dir), RedisAddress(url, user, password), runtime):
        await asyncio.Event().wait()


def life(bound: Callable[[], None]) -> None:
    """Of one; the lines to be killed at are watched from here on, for that makes imports slow."""
    bound()
    sys.orig_argv.append("hive_supervisor")
    importlib.reload(sys.modules["sitecustomize"])
    asyncio.run(serve(*sys.argv[1:]))


if __name__ == "__main__":
    bound = die_with_parent(signal.SIGKILL)
    while True:
        child = os.fork()
        if child == 0:
            life(bound)
            os._exit(0)
        os.waitpid(child, 0)
