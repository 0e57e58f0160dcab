"""The turn loop: take a message up, run a turn, and do what follows from how it ended (`hive_contracts.outcomes`).

At every end of a turn whose messages are done with: write it down, tell it, acknowledge, forget it (see `journal`).
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from hive_contracts.agents import LastTurn, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.outcomes import CONSEQUENCES, Next, is_done
from hive_contracts.turns import TurnEnded, TurnStarted
from hive_harness import prompt
from hive_harness.config import HarnessConfig
from hive_harness.inbox import Inbox
from hive_harness.journal import EndedTurn, Journal
from hive_harness.kept import KeptStore
from hive_harness.life import Life
from hive_harness.live import LivePublisher
from hive_harness.model import ModelChoice
from hive_harness.pauses import Pauses
from hive_harness.runner import EngineRunner
from hive_harness.status import StatusKeeper
from hive_harness.tools import wake_of
from hive_harness.turn import CurrentTurn, Ending, Received, Turn

LONGEST_READ_S: Final = 25.0

log = structlog.get_logger()


class TurnLoop:
    """`run` returns only by cancellation, or raises `LeaseLost`. `after_turn` is told how each turn ended, at once;
    `retries` tells whether the next is tried again after a compaction."""

    def __init__(  # noqa: PLR0913 - the loop is where the parts meet
        self,
        config: HarnessConfig,
        *,
        inbox: Inbox,
        runner: EngineRunner,
        current: CurrentTurn,
        live: LivePublisher,
        status: StatusKeeper,
        life: Life,
        kept: KeptStore,
        model: ModelChoice,
        after_turn: Callable[[Ending], None],
        retries: Callable[[], bool],
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._runner = runner
        self._current = current
        self._live = live
        self._status = status
        self._life = life
        self._kept = kept
        self._journal = Journal(config.own_dir)
        self._after_turn = after_turn
        self._retries = retries
        self._model = model
        settings = config.settings
        self._pauses = Pauses(first_s=settings.retry_first_s, limit_s=settings.retry_limit_s)
        self._idle_since = 0.0

    async def run(self) -> None:
        try:
            await self._repeat_end()
            if self._life.naps:
                await self._inbox.find_urgent()
            await self._rest()
            self._life.ready()
            while True:
                await self._until_free()
                if await self._message_waits():
                    await self._take_next()
        except asyncio.CancelledError:
            self._stop()
            raise

    async def _repeat_end(self) -> None:
        """The turn whose end an earlier harness had written down, but perhaps not told or acknowledged."""
        self._status.update(last_turn=self._kept.value.last_turn)
        if ended := self._journal.read():
            log.info("end of a turn repeated", turn=ended.event.data.get("turn_id"))
            self._live.publish_envelope(ended.event)
            self._status.update(last_turn=_last_turn(ended.event))
            await self._acknowledge(ended)

    async def _until_free(self) -> None:
        """Wait while something keeps the agent from a turn; an engine that is idle for long meanwhile is closed."""
        try:
            async with asyncio.timeout(await self._idle_left_s()):
                await self._life.free()
        except TimeoutError:
            await self._idle_left_s()
            await self._life.free()

    async def _message_waits(self) -> bool:
        """False after a while without a message."""
        return await self._inbox.wait(wait_s=min(await self._idle_left_s(), LONGEST_READ_S))

    async def _idle_left_s(self) -> float:
        """How long until the engine is to be closed; closes it when that is over, and then there is time enough."""
        left_s = self._idle_since + self._config.settings.idle_close_s - _now()
        if left_s > 0:
            return left_s
        await self._runner.close_idle()
        return LONGEST_READ_S

    async def _take_next(self) -> None:
        unread = await self._status.count_unread()
        await self._life.free()  # the last wait before the turn begins
        if taken := self._inbox.take():
            message = taken[0].message
            with bound_contextvars(message=message.id, trace=message.trace_id):
                await self._run_turn(*taken, unread=unread)

    async def _run_turn(self, received: Received, context: list[Received], *, unread: int) -> None:
        started = datetime.now(UTC)
        waiting = max(0, unread - 1 - len(context))
        texts = [prompt.build(wake_of(item)) for item in context]
        texts.append(prompt.build(wake_of(received, waiting=waiting)))
        self._model.apply()
        turn = self._begin(received, "\n\n".join(texts))
        turn.join(context)
        if self._retries():
            turn.counts.compact_retry()
        ending = await self._runner.run(turn, texts)
        await self._status.count_unread()
        event = turn.end(ending)
        log.info("turn ended", turn=turn.id, outcome=ending.outcome.value, reason=ending.reason)
        self._account(turn, ending, started)
        if is_done(ending.outcome):
            await self._finish(EndedTurn(event, turn.entry_ids))
        else:
            await self._try_later(ending, head=turn.cause)
        self._life.end_turn()
        self._after_turn(ending)
        turn.settled.set()
        await self._rest()

    def _begin(self, received: Received, text: str) -> Turn:
        turn = self._current.begin(received)
        turn.emit(
            TurnStarted,
            messages=turn.messages,
            sender=received.message.sender,
            prompt=text,
            engine=self._config.engine.value,
            model=self._model.active(),
            redelivered=received.redelivered,
        )
        self._life.begin_turn(turn.id)
        log.info("turn started", turn=turn.id, redelivered=received.redelivered)
        return turn

    def _account(self, turn: Turn, ending: Ending, started: datetime) -> None:
        """What the turn was and cost, in the state."""
        now = datetime.now(UTC)
        self._kept.add_cost(ending.cost_usd, now=now)
        tokens = ending.usage.context or self._status.state.context_tokens
        share = ending.usage.context / ending.window if ending.window else self._status.state.context_share
        last = LastTurn(turn_id=turn.id, started=started, ended=now, outcome=ending.outcome, messages=turn.messages)
        self._kept.keep(last_turn=last)
        self._status.update(
            last_turn=last,
            cost_turn_usd=ending.cost_usd,
            cost_day_usd=self._kept.value.cost_day_usd,
            cost_usd=self._kept.value.cost_usd,
            context_tokens=tokens,
            context_share=round(share, 4),
            session_id=ending.session_id or self._status.state.session_id,
        )

    async def _finish(self, ended: EndedTurn) -> None:
        self._pauses.reset()
        self._journal.write(ended)
        await self._acknowledge(ended)

    async def _acknowledge(self, ended: EndedTurn) -> None:
        await self._live.settled()
        await self._inbox.finish(ended)
        self._journal.clear()

    async def _try_later(self, ending: Ending, *, head: str) -> None:
        self._inbox.put_back()
        follows = CONSEQUENCES[ending.outcome]
        later = datetime.now(UTC) + timedelta(seconds=self._pauses.next_s(ending.outcome, head))
        reason = f"{ending.outcome}: {ending.reason}" if ending.reason else str(ending.outcome)
        match follows.next:
            case Next.AT_ONCE:
                await self._inbox.find_urgent()
            case Next.PARK:
                self._life.park(max(later, ending.resets_at or later), reason)
            case Next.LOGIN:
                self._life.lose_login(later, reason)
            case Next.RETRY | Next.COMPACT | Next.ACK:
                self._life.wait(later, reason)

    async def _rest(self) -> None:
        self._idle_since = _now()
        await self._status.count_unread()

    def _stop(self) -> None:
        """Told to end: a turn that runs is over for this harness; its messages wait for the next."""
        if turn := self._current.turn:
            turn.end(Ending(TurnOutcome.INTERRUPTED, "the harness was stopped; the message is taken up again"))
        if self._life.state is TurnState.THINKING:
            self._life.end_turn()
        self._status.update(detail="stopped", until=None)


def _last_turn(event: Envelope) -> LastTurn | None:
    """As the turn's end tells it; None for one that cannot be read."""
    try:
        ended = event.payload(TurnEnded)
    except MalformedEnvelope:
        return None
    started = event.time - timedelta(milliseconds=ended.duration_ms)
    return LastTurn(
        turn_id=ended.turn_id, started=started, ended=event.time, outcome=ended.outcome, messages=ended.messages
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
