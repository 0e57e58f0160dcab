"""Which of several brokers does what: each outbox has one broker, and the first of them keeps the stores.

Every broker renews its place in `hive:brokers` each second, and reads there who else is alive. From that view each
computes the same owners. A change has two steps: everyone stops what is not theirs any more and says so; only when all
have said so does anyone begin what has become theirs. So the order of an outbox is kept, also when it changes hands; a
broker that died is left out when its place runs out. Should two handle the same entry after all (one was suspended, or
Redis was emptied), the key beside the inbox stops the second delivery.
"""

import asyncio
import fcntl
import hashlib
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from hive_contracts.errors import Unavailable
from hive_runtime.bus import Bus

PLACE_MS: Final = 4_000
"""How long a broker that says nothing counts as alive: a killed one's outboxes are taken over after it."""

RENEW_S: Final = 1.0
AGREE_S: Final = 0.05
"""Pause between two looks while not everyone has stopped what is not theirs."""

Changed = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class Membership:
    """`run` renews this broker's place until cancelled. `instance` must be no other process's: see `slot`."""

    def __init__(self, bus: Bus, instance: str) -> None:
        self._bus = bus
        self._instance = instance
        self._view: tuple[str, ...] = ()
        self._agreed = False

    @property
    def is_first(self) -> bool:
        """Whether this broker keeps the stores."""
        return self._view[:1] == (self._instance,)

    @property
    def agreed(self) -> bool:
        """Whether nobody does any more what is not theirs in this view."""
        return self._agreed

    def owns(self, name: str) -> bool:
        """Whether the outbox of `name` is this broker's."""
        return bool(self._view) and owner(self._view, name) == self._instance

    async def run(self, changed: Changed) -> None:
        """`changed` is called, and awaited, to stop what is not ours any more, and to begin what is, once agreed."""
        while True:
            try:
                members = await self._bus.join(self._instance, PLACE_MS, _mark(self._view))
            except Unavailable:
                await asyncio.sleep(AGREE_S)
                continue
            view = tuple(member.instance for member in members)
            if view != self._view:
                log.info("brokers changed", brokers=len(view), first=view[0] == self._instance)
                self._view, self._agreed = view, False
                await changed()
                continue  # say at once that it is stopped
            if not self._agreed and all(member.view == _mark(view) for member in members):
                self._agreed = True
                await changed()
            await asyncio.sleep(RENEW_S if self._agreed else AGREE_S)

    async def leave(self) -> None:
        """Give the place up, when all is stopped: the others need not wait until it runs out."""
        await self._bus.leave(self._instance)


@contextmanager
def slot(folder: Path, name: str) -> Iterator[str]:
    """The first instance name that no living process of this machine has.

    The kernel frees it with the process, so that a broker started in a dead one's stead takes its place at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        descriptor = os.open(folder / f"{name}-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield f"{name}-{number}"
        finally:
            os.close(descriptor)
        return


def owner(instances: Sequence[str], name: str) -> str:
    """Whose the outbox of `name` is. Highest random weight: a broker that comes or goes moves its own share only."""
    return max(instances, key=lambda one: _weight(one, name))


def _weight(instance: str, name: str) -> bytes:
    return hashlib.blake2b(f"{instance}\0{name}".encode(), digest_size=8).digest()


def _mark(view: tuple[str, ...]) -> str:
    return ",".join(view)
