"""Asking a back-end again until it does what must be done: one that fails for now, or says no, ends no supervisor."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from hive_contracts.errors import HiveError
from hive_runtime.backoff import Backoff

LONGEST_WAIT_S: Final = 2.0

T = TypeVar("T")
Note = Callable[[str, str], Awaitable[None]]
"""Warns the operator about something, until the same is noted with an empty sentence."""

log = structlog.get_logger()


async def insist(work: Callable[[], Awaitable[T]], what: str, note: Note | None = None) -> T:
    """Do `work`, which may be done twice, until it succeeds. `what` fails meanwhile, as a clause: it is logged once."""
    backoff = Backoff(limit_s=LONGEST_WAIT_S)
    while True:
        try:
            done = await work()
        except HiveError as error:
            if backoff.tries == 0:
                log.warning("back-end fails, asked again", what=what, code=error.code, reason=str(error))
                if note:
                    await note(what, f"{what[:1].upper()}{what[1:]}: {error}. It is tried again until it succeeds.")
            await backoff.wait()
        else:
            if backoff.tries and note:
                await note(what, "")
            return done
