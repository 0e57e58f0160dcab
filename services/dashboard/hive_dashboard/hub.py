"""Server-sent events to many pages: each frame is rendered once, kept in a ring, and read with a cursor per client.

A page names the cursor of what it shows and gets everything after it. Whoever falls behind the ring, or comes with a
cursor of a former process, gets one `reset` event and renders anew: nothing is guessed and no queue grows. Writes are
coalesced: a client is woken at most once in a window and takes all that is there in one piece, which is put together
once for all that stand at the same place. What comes while they are served waits for the next window: a machine with
much to do writes less often, and what it writes is longer.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 0.01
KEEP_ALIVE_S: Final = 15.0
RING_FRAMES: Final = 1_000
RING_BYTES: Final = 512 * 1024
WATCHED: Final = 4
"""A ring that is read holds so many times as much, so that a busy second does not make all its pages start anew."""

WRITE_BYTES: Final = 256 * 1024
"""A single write to a client is not much longer than this."""

KEEP_ALIVE: Final = b": keep-alive\n\n"
RESET: Final = b"event: reset\ndata: reset\n\n"


def encode(event: str, text: str) -> bytes:
    """The `event` and `data` lines of a frame."""
    lines = text.encode("utf-8", "replace").replace(b"\r", b"").split(b"\n")
    return b"event: %s\n" % event.encode() + b"".join(b"data: %s\n" % line for line in lines) + b"\n"


class Frame:
    """One event for pages; rendered when the first client takes it, never when nobody looks."""

    __slots__ = ("_body", "_render", "event", "number", "weight")

    def __init__(self, number: int, event: str, render: Callable[[], str], *, weight: int) -> None:
        self.number = number
        self.event = event
        self.weight = weight
        self._render = render
        self._body: bytes | None = None

    def encoded(self, epoch: str) -> bytes:
        if self._body is None:
            self._body = f"id: {epoch}.{self.number}\n".encode() + encode(self.event, self._render())
        return self._body


class Ring:
    """The newest frames of one topic. `lost` is the highest number that is no longer here."""

    def __init__(self, lost: int) -> None:
        self.frames: deque[Frame] = deque()
        self.lost = lost
        self.news = asyncio.Event()
        self._weight = 0
        self._pieces: dict[int, tuple[bytes, int]] = {}

    def add(self, frame: Frame, *, times: int = 1) -> None:
        """`times`: how much more than an unread ring it may hold."""
        self._pieces.clear()
        self.frames.append(frame)
        self._weight += frame.weight
        frames, weight = RING_FRAMES * times, RING_BYTES * times
        while len(self.frames) > frames or (self._weight > weight and len(self.frames) > 1):
            dropped = self.frames.popleft()
            self._weight -= dropped.weight
            self.lost = dropped.number

    def after(self, cursor: int) -> list[Frame]:
        """The frames above `cursor`, found from the new end, because most clients lack only a few."""
        found: list[Frame] = []
        for frame in reversed(self.frames):
            if frame.number <= cursor:
                break
            found.append(frame)
        return found[::-1]

    def piece(self, cursor: int, epoch: str) -> tuple[bytes, int]:
        """What is above `cursor` in one piece, `WRITE_BYTES` or a little more, and where that leads."""
        if found := self._pieces.get(cursor):
            return found
        parts: list[bytes] = []
        size, place = 0, cursor
        for frame in self.after(cursor):
            parts.append(frame.encoded(epoch))
            place = frame.number
            size += len(parts[-1])
            if size > WRITE_BYTES:
                break
        self._pieces[cursor] = made = b"".join(parts), place
        return made

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a page is. Of another process it means nothing here."""

    epoch: str
    number: int

    @classmethod
    def parse(cls, text: str | None) -> "Cursor | None":
        epoch, _, number = (text or "").partition(".")
        return cls(epoch, int(number)) if number.isascii() and number.isdigit() and len(number) < 20 else None

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


class Hub:
    """Topics and who follows them. All methods belong to the event loop's thread."""

    def __init__(self, *, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._keep_alive_s = keep_alive_s
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._rings: dict[str, Ring] = {}
        self._dirty: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()  # for those who were told to start anew: no news, only the beat
        self._closed = False
        self._followers: dict[str, int] = {}

    def cursor(self, topic: str) -> Cursor:
        """Where a page that is rendered now stands; from now on its frames are kept."""
        self._ring(topic)
        return Cursor(self._epoch, self._number)

    def publish(self, topic: str, event: str, render: Callable[[], str] | str, *, weight: int = 500) -> None:
        """Add a frame; `weight` is about its size in bytes, needed before it is rendered."""
        self._number += 1
        self._add(topic, _frame(self._number, event, render, weight))

    def publish_everywhere(self, event: str, text: str) -> None:
        """One frame for every topic."""
        self._number += 1
        frame = _frame(self._number, event, text, len(text))
        for topic in self._rings:
            self._add(topic, frame)

    def follows(self, topic: str) -> bool:
        """Whether a page of this topic is open."""
        return topic in self._followers

    @property
    def clients(self) -> int:
        return sum(self._followers.values())

    def close(self) -> None:
        """End every stream now."""
        self._closed = True
        self._wake_all()

    async def follow(self, topic: str, cursor: Cursor | None) -> AsyncIterator[bytes]:
        """Chunks for one client, until `close`. After a `reset` only keep-alives follow: the page starts anew."""
        ring = self._ring(topic)
        self._followers[topic] = self._followers.get(topic, 0) + 1
        self._start_beat()
        try:
            yield b"retry: 1000\n\n"
            position = cursor.number if cursor and cursor.epoch == self._epoch else None
            if position is None:
                yield RESET
            while not self._closed:
                chunk, position = self._take(ring, position)
                if not chunk:
                    await (self._over if position is None else ring.news).wait()
                    if self._closed:
                        break
                    chunk, position = self._take(ring, position)
                yield chunk or KEEP_ALIVE
        finally:
            self._followers[topic] -= 1
            if not self._followers[topic]:
                del self._followers[topic]

    def _take(self, ring: Ring, position: int | None) -> tuple[bytes, int | None]:
        """What is new above `position`, in one piece; None as position means that the client was told to start anew."""
        if position is None:
            return b"", None
        if position < ring.lost:
            return RESET, None
        return ring.piece(position, self._epoch)

    def _keep_alive(self) -> None:
        """One timer for all: whoever is woken and finds nothing new says that the stream lives."""
        self._beat = None
        self._wake_all()
        self._start_beat()

    def _wake_all(self) -> None:
        for ring in self._rings.values():
            ring.wake()
        self._over.set()
        self._over = asyncio.Event()

    def _start_beat(self) -> None:
        if self._beat is None and self._followers and not self._closed:
            self._beat = asyncio.get_running_loop().call_later(self._keep_alive_s, self._keep_alive)

    def _ring(self, topic: str) -> Ring:
        return self._rings.setdefault(topic, Ring(self._number))

    def _add(self, topic: str, frame: Frame) -> None:
        self._ring(topic).add(frame, times=WATCHED if topic in self._followers else 1)
        self._dirty.add(topic)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(WINDOW_S, self._wake)

    def _wake(self) -> None:
        self._flush = None
        for topic in self._dirty:
            self._rings[topic].wake()
        self._dirty.clear()


def _frame(number: int, event: str, render: Callable[[], str] | str, weight: int) -> Frame:
    return Frame(number, event, render if callable(render) else lambda: render, weight=weight)
