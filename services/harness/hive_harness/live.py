"""Live events, in order: queued at once, written in batches, tried again until Redis takes them.

Nothing is lost or reordered while the process lives. Every envelope has its id before the first try, so that a batch
written twice after a lost reply is recorded once. Whoever makes many events awaits `room` between them.

Here is the only way out: known secrets are taken out of every event, then its texts are cut, in this order, so that no
half of a secret is left at a cut.
"""

import asyncio
import json
from collections import deque
from typing import Any, Final

from hive_contracts import streams
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.turns import MAX_TEXT
from hive_harness.redaction import Redactor
from hive_harness.whole_texts import MAX_TEXT_BYTES, WholeTexts
from hive_runtime.backoff import persist
from hive_runtime.bus import Append, Batch, Bus

MAX_WAITING: Final = 500
MAX_BATCH: Final = 50
MAX_ITEMS: Final = 200
"""How many items of a list or keys of an object in a tool call's input are kept."""

CUT: Final = "… (cut)"


class LivePublisher:
    """Owns `hive:{<agent>}:live`. `run` writes until cancelled; `publish` never waits.

    `whole`: keeps what is cut off; without it that is lost.
    """

    def __init__(
        self, bus: Bus, agent: str, *, redactor: Redactor | None = None, whole: WholeTexts | None = None
    ) -> None:
        self._bus = bus
        self._agent = agent
        self._redactor = redactor or Redactor()
        self._whole = whole
        self._waiting: deque[Envelope] = deque()
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()

    def publish(self, payload: Payload) -> Envelope:
        """Returns the event as it goes out."""
        return self.publish_envelope(Envelope.of(payload, source=self._agent, subject=self._agent))

    def publish_envelope(self, envelope: Envelope) -> Envelope:
        fit = envelope.model_copy(update={"data": self._cut(self._redactor.value(_capped(envelope.data)))})
        self._waiting.append(fit)
        self._wake.set()
        return fit

    def _cut(self, data: dict[str, Any]) -> dict[str, Any]:
        """`data` with every text of it at most `MAX_TEXT` long, and a tool call's input too."""
        cut = {key: bounded(item) if isinstance(item, str) else item for key, item in data.items()}
        if isinstance(item := data.get("input"), dict):
            cut["input"] = bounded_input(item)
        if self._whole and data.get("whole") == "":
            lost = next((data[key] for key in data if cut[key] != data[key]), None)
            if lost is not None:
                cut["whole"] = self._whole.keep(lost if isinstance(lost, str) else _pretty(lost))
        return cut

    def redact(self, text: str) -> str:
        """`text` as it may leave by other ways than this."""
        return self._redactor.text(text)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits that nobody would see what can be left out."""
        return len(self._waiting) >= MAX_BATCH

    async def room(self) -> None:
        """Returns when few enough events wait that more may be made."""
        if len(self._waiting) >= MAX_WAITING:
            await self._until(MAX_WAITING)

    async def settled(self) -> None:
        """Returns when everything published so far is in the stream."""
        await self._until(1)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_waiting()

    async def flush(self, *, limit_s: float) -> None:
        """Write what waits, once `run` has ended; give up after `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                await self._write_waiting()
        except TimeoutError:
            return

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(MAX_BATCH, len(self._waiting)))]
            appends = [Append(streams.live(self._agent), envelope) for envelope in batch]
            await persist(lambda appends=appends: self._bus.write(Batch(appends)))  # type: ignore[misc]
            for _ in batch:
                self._waiting.popleft()
            async with self._changed:
                self._changed.notify_all()

    async def _until(self, fewer_than: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < fewer_than)


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """`text` as it may leave the container: at most `limit` characters, and all of them encodable."""
    cut = text if len(text) <= limit else text[: limit - len(CUT)] + CUT
    return encodable(cut)


def encodable(text: str) -> str:
    """`?` for half of a character pair, which JSON can spell and nothing takes."""
    return text.encode("utf-8", "replace").decode()


def _capped(value: Any) -> Any:
    """No text longer than what is kept at all: to look for secrets in more takes long."""
    match value:
        case str():
            return value[:MAX_TEXT_BYTES]
        case dict():
            return {key: _capped(item) for key, item in value.items()}
        case list():
            return [_capped(item) for item in value]
        case _:
            return value


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def bounded_input(value: dict[str, Any]) -> dict[str, Any]:
    """A tool call's input with its texts cut, so that all of it together stays near `MAX_TEXT` characters."""
    budget = [MAX_TEXT]
    return {key: _shrink(item, budget, depth=4) for key, item in _first_items(value)}


def _shrink(value: Any, budget: list[int], *, depth: int) -> Any:
    if isinstance(value, str):
        kept = bounded(value, max(budget[0], len(CUT)))
        budget[0] -= len(kept)
        return kept
    budget[0] -= 8
    if isinstance(value, bool | int | float | None):
        return value
    if depth == 0 or budget[0] <= 0:
        return CUT
    if isinstance(value, dict):
        return {key: _shrink(item, budget, depth=depth - 1) for key, item in _first_items(value)}
    return [_shrink(item, budget, depth=depth - 1) for item in value[:MAX_ITEMS]]


def _first_items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(bounded(str(key), 200), item) for key, item in list(value.items())[:MAX_ITEMS]]
