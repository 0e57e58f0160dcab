"""The run loop: one main coroutine per process, cancelled by SIGTERM or SIGINT, with a bounded clean-up."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from hive_contracts.errors import HiveError

EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 78
"""EX_CONFIG: a settings error; starting again will not help."""

log = structlog.get_logger()


Told = Callable[[signal.Signals], None]


def run_service(main: Callable[[], Coroutine[Any, Any, None]], *, told: Told = lambda _: None) -> int:
    """Run `main` until it ends or a signal comes, which `told` hears of; returns the exit status."""
    gc.freeze()  # what is imported by now stays; collections skip it
    try:
        with asyncio.Runner() as runner:
            return runner.run(_until_signal(main, told))
    except HiveError as error:
        return report_failure(error)


def report_failure(error: HiveError) -> int:
    """Say why the process ends, in one line, and return its exit status."""
    log.error("cannot go on", code=error.code, reason=str(error))
    return EXIT_CANNOT_START if error.code == "settings" else EXIT_FAILED


async def _until_signal(main: Callable[[], Coroutine[Any, Any, None]], told: Told) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())

    def end(number: signal.Signals) -> None:
        told(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except Exception as error:
        first = _first(error)
        if isinstance(first, HiveError):
            raise first from error
        log.exception("service failed")
        return EXIT_FAILED
    return 0


def _first(error: BaseException) -> BaseException:
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
