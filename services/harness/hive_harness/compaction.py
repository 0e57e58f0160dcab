"""Between turns: the conversation is shortened when it fills the model's window, and the notes when they grow too long.

The conversation: one checkpoint turn, in which the agent writes down what must survive, then the engine's own
`/compact`. The notes: an engine of its own rewrites them (`alone`), and only a good answer is taken (`notes`).

The state is `compacting` all the while, so that no turn begins. Nothing is kept of what was wanted: a harness that
comes back finds the conversation as long as it was, and wants the same again after its next turn.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import structlog

from hive_contracts.agents import TurnOutcome, TurnState
from hive_contracts.control import CompactAgent
from hive_contracts.errors import HiveError, Refused
from hive_contracts.names import SYSTEM
from hive_contracts.turns import TurnNote, TurnStarted
from hive_harness.alone import Answer, ask_alone
from hive_harness.config import HarnessConfig
from hive_harness.control import Control
from hive_harness.engine import EngineKind
from hive_harness.kept import KeptStore
from hive_harness.life import Life
from hive_harness.model import ModelChoice
from hive_harness.notes import Notes, NotTaken, new_notes
from hive_harness.prompt import CHECKPOINT, COMPACT_KEEPING, NOTES, REWRITE
from hive_harness.runner import EngineRunner
from hive_harness.status import StatusKeeper
from hive_harness.turn import Compaction, CurrentTurn, Ending, Turn

AT_REST: Final = frozenset(TurnState) - {TurnState.STARTING, TurnState.THINKING, TurnState.COMPACTING}

STEP: Final = 0.05
"""By this share of the window a conversation that could not be shortened grows before it is tried again."""

log = structlog.get_logger()


class Want(StrEnum):
    CONVERSATION = "conversation"
    NOTES = "notes"


@dataclass(frozen=True, slots=True)
class _Job:
    """`forced`: the conversation no longer fits, so there can be no checkpoint, and it must become shorter."""

    done: asyncio.Future[Mapping[str, Any]]
    forced: bool = False


class Upkeep:
    """`run` works until cancelled; `after_turn` is for the loop, `attach` for the control stream."""

    def __init__(  # noqa: PLR0913 - it touches what a turn touches
        self,
        config: HarnessConfig,
        kind: EngineKind,
        *,
        life: Life,
        runner: EngineRunner,
        current: CurrentTurn,
        status: StatusKeeper,
        kept: KeptStore,
        model: ModelChoice,
    ) -> None:
        self._config = config
        self._kind = kind
        self._life = life
        self._runner = runner
        self._current = current
        self._status = status
        self._kept = kept
        self._model = model
        self._notes = Notes(config.state_dir)
        self._wanted: dict[Want, _Job] = {}
        self._wake = asyncio.Event()
        self._tried = False
        self._left_alone = ""
        self._not_before = 0.0

    def retries(self) -> bool:
        """Whether the next turn is to fit in what was shortened because the last did not fit."""
        return self._tried

    def attach(self, control: Control) -> None:
        control.on(CompactAgent, self.compact, repeatable=False)

    def after_turn(self, ending: Ending) -> None:
        """Begin at once with what is due; then no turn begins before it is done."""
        settings, state = self._config.settings, self._status.state
        if ending.outcome is TurnOutcome.OK:
            self._tried = False
            if state.context_share >= max(settings.compact_at, self._not_before):
                self._not_before = state.context_share + STEP
                self._want(Want.CONVERSATION)
        elif ending.outcome is TurnOutcome.PROMPT_TOO_LONG:
            self._want(Want.CONVERSATION, forced=True)
        if self._notes.size() > settings.notes_limit_bytes and self._digest() != self._left_alone:
            self._want(Want.NOTES)
        self._begin()

    async def compact(self, command: CompactAgent) -> Mapping[str, Any]:
        """By hand. What came of it; `after: turn` where a turn runs, after which it is done."""
        job = self._want(Want.NOTES if command.notes else Want.CONVERSATION)
        self._begin()
        if self._life.state is not TurnState.COMPACTING:
            return {"after": "turn"}
        return await asyncio.shield(job.done) if command.wait else {}

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._work()
            finally:
                self._life.end_compaction()

    def _want(self, want: Want, *, forced: bool = False) -> _Job:
        job = self._wanted.get(want)
        if job is None or (forced and not job.forced):
            done = job.done if job else asyncio.get_running_loop().create_future()
            job = self._wanted[want] = _Job(done, forced)
        return job

    def _begin(self) -> None:
        if self._wanted and self._life.state in AT_REST:
            self._life.begin_compaction()
            self._wake.set()

    async def _work(self) -> None:
        while self._wanted:
            want = next(iter(self._wanted))
            job = self._wanted[want]
            self._status.update(detail=f"shortening the {want}")
            try:
                match want:
                    case Want.CONVERSATION:
                        result = await self._shorten_conversation(forced=job.forced)
                    case Want.NOTES:
                        result = await self._shorten_notes()
            except HiveError as error:
                self._current.note(f"the {want} was not shortened: {error}")
                log.warning("not shortened", what=want.value, code=error.code, reason=str(error))
                _fail(job, error)
            except Exception:
                log.exception("shortening failed", what=want.value)
                _fail(job, Refused(f"the {want} could not be shortened; `hive logs {self._config.agent}` says why"))
            else:
                log.info("shortened", what=want.value, **result)
                if not job.done.done():
                    job.done.set_result(result)
            finally:
                self._wanted.pop(want, None)

    async def _shorten_conversation(self, *, forced: bool) -> Mapping[str, Any]:
        if not self._runner.has_session:
            raise Refused("there is no conversation yet")
        if forced and self._tried:
            return self._begin_anew()
        turn = self._current.begin_own()
        prompt = COMPACT_KEEPING if forced else CHECKPOINT
        turn.emit(
            TurnStarted, sender=SYSTEM, prompt=prompt, engine=self._config.engine.value, model=self._model.active()
        )
        self._status.update(turn_id=turn.id)
        ending = Ending(TurnOutcome.FAILED, "it was broken off")
        try:
            ending = await self._converse(turn, forced=forced)
        finally:
            turn.end(ending)
            turn.settled.set()
            self._status.update(turn_id=None)
        if ending.outcome is TurnOutcome.OK and ending.compaction and ending.compaction.done:
            self._tried = forced
            return self._shortened(ending.compaction, ending.window)
        if forced:
            return self._begin_anew()
        raise Refused(_words(ending))

    async def _converse(self, turn: Turn, *, forced: bool) -> Ending:
        """The checkpoint, if there can be one, and the compaction; both cost."""
        before = Ending(TurnOutcome.OK)
        if not forced:
            before = await self._ask(turn, CHECKPOINT)
            if before.outcome not in {TurnOutcome.OK, TurnOutcome.PROMPT_TOO_LONG}:
                return before
        ending = await self._ask(turn, COMPACT_KEEPING)
        turn.emit(TurnNote, text=_words(ending))
        return replace(ending, cost_usd=ending.cost_usd + before.cost_usd)

    async def _ask(self, turn: Turn, text: str) -> Ending:
        ending = await self._runner.run(turn, [text])
        self._spent(ending)
        return ending

    def _shortened(self, done: Compaction, window: int) -> Mapping[str, Any]:
        share = done.after / window if window else 0.0
        if share < self._config.settings.compact_at:
            self._not_before = 0.0
        self._status.update(context_tokens=done.after, context_share=round(share, 4))
        return {"tokens_before": done.before, "tokens_after": done.after}

    def _begin_anew(self) -> Mapping[str, Any]:
        self._not_before = 0.0
        self._runner.begin_anew()
        self._status.update(session_id=None, context_tokens=0, context_share=0.0)
        self._current.note("a new conversation begins, since this one does not fit the model")
        return {"new_session": True}

    async def _shorten_notes(self) -> Mapping[str, Any]:
        digest = self._digest()
        try:
            old = self._notes.read()
            answer = await self._ask_alone(REWRITE + old)
            if answer.ending.outcome is not TurnOutcome.OK:
                raise NotTaken(f"{answer.ending.outcome}: {answer.ending.reason}")
            done = self._notes.replace(old, new_notes(old, answer.text))
        except NotTaken:
            self._left_alone = digest
            raise
        self._current.note(f"{NOTES} was shortened: {done.before:,} → {done.after:,} bytes; before: {done.earlier}")
        return {"bytes_before": done.before, "bytes_after": done.after, "earlier": done.earlier}

    async def _ask_alone(self, text: str) -> Answer:
        limit_s = self._config.settings.turn_limit_s
        answer = await ask_alone(self._kind, text, model=self._model.active(), limit_s=limit_s)
        self._spent(answer.ending)
        return answer

    def _digest(self) -> str:
        """Of the notes as they stand: what could not be shortened is tried again when it has changed."""
        return hashlib.blake2b(self._notes.content(), digest_size=16).hexdigest()

    def _spent(self, ending: Ending) -> None:
        self._kept.add_cost(ending.cost_usd, now=datetime.now(UTC))
        self._status.update(cost_usd=self._kept.value.cost_usd, cost_day_usd=self._kept.value.cost_day_usd)


def _words(ending: Ending) -> str:
    if ending.outcome is not TurnOutcome.OK:
        return f"{ending.outcome}: {ending.reason}"
    if ending.compaction is None or not ending.compaction.done:
        return (ending.compaction and ending.compaction.error) or "the engine did not shorten it"
    return f"the conversation was shortened: {ending.compaction.before:,} → {ending.compaction.after:,} tokens"


def _fail(job: _Job, error: HiveError) -> None:
    if not job.done.done():
        job.done.set_exception(error)
        job.done.exception()  # nobody may wait for it
