"""The turn loop: claim a message, run a turn, acknowledge it when it ended well, else wait and try it again.

At every end of a turn that went well: write it down, tell it, acknowledge, forget it (see `journal` for why).
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts.agents import LastTurn, TurnOutcome, TurnState
from hive_contracts.turns import TurnStarted
from hive_harness import prompt
from hive_harness.config import HarnessConfig
from hive_harness.inbox import Inbox
from hive_harness.journal import EndedTurn, Journal
from hive_harness.live import LivePublisher, bounded
from hive_harness.runner import EngineRunner
from hive_harness.status import StatusKeeper
from hive_harness.tools import wake_of
from hive_harness.turn import CurrentTurn, Ending, Received, Turn
from hive_runtime.backoff import Backoff

LONGEST_READ_S: Final = 25.0

_WAITING: Final = {TurnOutcome.AUTH: TurnState.NEEDS_LOGIN, TurnOutcome.RATE_LIMITED: TurnState.RATE_LIMITED}
"""What the agent is while it waits to try a failed turn again; idle after any other failure."""

_PATIENCE: Final = {TurnOutcome.RATE_LIMITED: 10, TurnOutcome.AUTH: 10, TurnOutcome.OVERLOADED: 4}
"""By how much the first wait is longer where trying again soon cannot help."""

log = structlog.get_logger()


class TurnLoop:
    """`run` returns only by cancellation, or raises `LeaseLost`."""

    def __init__(  # noqa: PLR0913 - the loop is where the parts meet
        self,
        config: HarnessConfig,
        *,
        inbox: Inbox,
        runner: EngineRunner,
        current: CurrentTurn,
        live: LivePublisher,
        status: StatusKeeper,
        journal: Journal,
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._runner = runner
        self._current = current
        self._live = live
        self._status = status
        self._journal = journal
        settings = config.settings
        self._backoffs = {
            outcome: Backoff(first_s=settings.retry_first_s * _PATIENCE.get(outcome, 1), limit_s=settings.retry_limit_s)
            for outcome in TurnOutcome
        }
        self._idle_since = 0.0

    async def run(self) -> None:
        try:
            await self._repeat_end()
            self._rest()
            while True:
                if received := await self._claim():
                    await self._take(received)
        except asyncio.CancelledError:
            self._stop()
            raise

    async def _repeat_end(self) -> None:
        """The turn whose end an earlier harness had written down, but perhaps not told or acknowledged."""
        if ended := self._journal.read():
            log.info("end of a turn repeated", turn=ended.event.data.get("turn_id"))
            self._live.publish_envelope(ended.event)
            await self._acknowledge(ended)

    async def _claim(self) -> Received | None:
        """None after a while without a message; closes an engine that has been idle for long."""
        idle_left_s = self._idle_since + self._config.settings.idle_close_s - _now()
        if idle_left_s <= 0:
            await self._runner.close()
            idle_left_s = LONGEST_READ_S
        return await self._inbox.claim(wait_s=min(idle_left_s, LONGEST_READ_S))

    async def _take(self, received: Received) -> None:
        started = datetime.now(UTC)
        context = self._inbox.take_context()
        waiting = max(0, await self._status.count_unread() - 1 - len(context))
        texts = [prompt.build(wake_of(item)) for item in context]
        texts.append(prompt.build(wake_of(received, waiting=waiting)))
        turn = self._begin(received, "\n\n".join(texts))
        turn.join(context)
        ending = await self._runner.run(turn, texts)
        event = turn.end(ending)
        last = LastTurn(
            turn_id=turn.id, started=started, ended=datetime.now(UTC), outcome=ending.outcome, messages=turn.messages
        )
        cost_usd = self._status.state.cost_usd + ending.cost_usd
        self._status.update(last_turn=last, cost_usd=cost_usd, turn_id=None)
        log.info("turn ended", turn=turn.id, outcome=ending.outcome.value, reason=ending.reason)
        if ending.outcome is TurnOutcome.OK:
            await self._finish(turn, ending, EndedTurn(event, turn.entry_ids))
        else:
            await self._try_later(ending)
        await self._status.count_unread()
        self._rest()

    def _begin(self, received: Received, text: str) -> Turn:
        turn = self._current.begin(received)
        turn.emit(
            TurnStarted,
            messages=turn.messages,
            sender=received.message.sender,
            prompt=bounded(text),
            engine=self._config.engine.value,
            model=self._config.model,
            redelivered=received.redelivered,
        )
        self._status.update(state=TurnState.THINKING, detail="", turn_id=turn.id)
        log.info("turn started", turn=turn.id, message=received.message.id, redelivered=received.redelivered)
        return turn

    async def _finish(self, turn: Turn, ending: Ending, ended: EndedTurn) -> None:
        for backoff in self._backoffs.values():
            backoff.reset()
        self._status.update(
            session_id=ending.session_id, context_tokens=ending.usage.context or self._status.state.context_tokens
        )
        self._journal.write(ended)
        await self._acknowledge(ended)

    async def _acknowledge(self, ended: EndedTurn) -> None:
        await self._live.settled()
        await self._inbox.ack(ended.entry_ids)
        self._journal.clear()

    async def _try_later(self, ending: Ending) -> None:
        self._inbox.put_back()
        wait_s = self._backoffs[ending.outcome].next_s()
        reason = f"{ending.outcome}: {ending.reason}" if ending.reason else str(ending.outcome)
        self._status.rest(_WAITING.get(ending.outcome, TurnState.IDLE), f"trying again in {wait_s:.0f} s; {reason}")
        await asyncio.sleep(wait_s)

    def _rest(self) -> None:
        self._idle_since = _now()
        self._status.rest()

    def _stop(self) -> None:
        """Told to end: a turn that runs is over for this harness; its messages wait for the next."""
        if turn := self._current.turn:
            turn.end(Ending(TurnOutcome.CANCELLED, "the harness was stopped; the message is taken up again"))
        self._status.rest(detail="stopped")


def _now() -> float:
    return asyncio.get_running_loop().time()
