"""What the operator tells a running agent, and the tool by which it tells itself to nap."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from pydantic import Field

from hive_contracts.agents import TurnOutcome
from hive_contracts.control import (
    MAX_NAP_S,
    CancelTurn,
    NapAgent,
    NewSession,
    PauseAgent,
    ResumeAgent,
    UrgentWaits,
    WakeAgent,
)
from hive_contracts.errors import Refused
from hive_harness.control import Control
from hive_harness.errors import NotInTurn
from hive_harness.inbox import Inbox
from hive_harness.life import Life
from hive_harness.runner import EngineRunner
from hive_harness.status import StatusKeeper
from hive_harness.tools import Arguments, Tool, ToolAnswer
from hive_harness.turn import CurrentTurn, Stop

SAFE_POINT_S: Final = 1.0
"""How long an urgent message waits for a tool that runs; then the tool is ended with the turn."""

CANCELLED: Final = Stop(TurnOutcome.CANCELLED, "the operator cancelled it")
URGENT: Final = Stop(TurnOutcome.INTERRUPTED, "an urgent message came")

log = structlog.get_logger()


class NapArguments(Arguments):
    seconds: float = Field(gt=0, le=MAX_NAP_S, description="For how long.")


class Steering:
    """`tools` are for the agent's toolbox, `attach` is for its control stream."""

    def __init__(
        self,
        *,
        current: CurrentTurn,
        life: Life,
        inbox: Inbox,
        runner: EngineRunner,
        status: StatusKeeper,
        limit_s: float,
    ) -> None:
        self._current = current
        self._life = life
        self._inbox = inbox
        self._runner = runner
        self._status = status
        self._limit_s = limit_s
        self.tools = (
            Tool(
                "nap",
                "Sleep: after this turn nothing wakes you before the time but an urgent message or the operator. Other "
                "messages wait.",
                NapArguments,
                self._nap_tool,
            ),
        )

    def attach(self, control: Control) -> None:
        control.on(PauseAgent, self.pause)
        control.on(ResumeAgent, self.resume)
        control.on(CancelTurn, self.cancel, repeatable=False)
        control.on(NapAgent, self.nap, repeatable=False)
        control.on(WakeAgent, self.wake)
        control.on(NewSession, self.new_session, repeatable=False)
        control.on(UrgentWaits, self.look_for_urgent)

    async def pause(self, _command: PauseAgent) -> None:
        self._life.pause()

    async def resume(self, _command: ResumeAgent) -> None:
        self._life.resume()

    async def cancel(self, command: CancelTurn) -> Mapping[str, Any]:
        """Returns when the turn is over and its messages are acknowledged; `outcome` is `ok` when it had just ended."""
        turn = self._current.turn
        if turn is None:
            raise Refused("no turn runs, so there is nothing to cancel")
        if command.turn_id and command.turn_id != turn.id:
            raise Refused("that turn is over; another one runs now")
        turn.ask_to_stop(CANCELLED)
        await turn.settled.wait()
        return {"turn_id": turn.id, "messages": list(turn.messages), "outcome": turn.outcome}

    async def nap(self, command: NapAgent) -> Mapping[str, Any]:
        return {"until": self._begin_nap(command.seconds).isoformat()}

    async def wake(self, _command: WakeAgent) -> Mapping[str, Any]:
        return {"waited": self._life.wake()}

    async def new_session(self, _command: NewSession) -> None:
        self._runner.begin_anew()
        if self._current.turn is None:
            self._status.update(session_id=None, context_tokens=0, context_share=0.0)

    async def look_for_urgent(self, command: UrgentWaits) -> None:
        """One urgent turn does not interrupt another: they come one after the other."""
        if not await self._inbox.find_urgent():
            return
        log.info("urgent message", message=command.message_id)
        self._life.wake()
        turn = self._current.turn
        if turn and not turn.urgent:
            turn.ask_to_stop(URGENT, within_s=SAFE_POINT_S)

    async def _nap_tool(self, arguments: NapArguments) -> ToolAnswer:
        if self._current.turn is None:
            raise NotInTurn("there is no turn now, so there is nothing to nap after")
        until = self._begin_nap(arguments.seconds)
        return ToolAnswer((f"you nap until {until:%Y-%m-%d %H:%M:%S} UTC, from the end of this turn on; end it now",))

    def _begin_nap(self, seconds: float) -> datetime:
        if seconds > self._limit_s:
            raise Refused(f"a nap may last {self._limit_s:g} s at most; for longer, set a reminder or pause the agent")
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        self._life.nap(until)
        return until
