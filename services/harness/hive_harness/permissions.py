"""The tool that Claude Code asks before it uses what its own rules do not allow (`--permission-prompt-tool`).

The harness decides by the agent's policy; where that says so, by asking the operator and waiting for the answer. All
that goes wrong means no.
"""

import asyncio
import json
from typing import Any, Final

import structlog
from pydantic import ConfigDict, Field

from hive_contracts.errors import HiveError
from hive_contracts.names import OPERATOR
from hive_contracts.permissions import SHELL, Choice, PermissionPolicy, PermissionRequest, ToolPolicy, decision_of
from hive_contracts.questions import (
    CANCELLED,
    EXPIRED,
    AskQuestion,
    CancelQuestion,
    QuestionAnswered,
    ThreadRefused,
    check_permission,
)
from hive_contracts.turns import TurnNote
from hive_harness.live import bounded
from hive_harness.outgoing import Outgoing
from hive_harness.patterns import allows, propose
from hive_harness.status import StatusKeeper
from hive_harness.tools import Arguments, Tool, ToolAnswer
from hive_harness.turn import CurrentTurn, Turn

PERMISSION_TOOL: Final = "permission"
LATE_S: Final = 5.0
"""How long after its time the answer to an expired question may take."""

MOST_ASKED: Final = 5

_NEXT: Final = "Go on without it, or tell the operator why you need it."

_OVER: Final = "The turn is over."

log = structlog.get_logger()


class PermissionArguments(Arguments):
    """As Claude Code sends them; it may add more."""

    model_config = ConfigDict(extra="ignore")

    tool_name: str = Field(description="The tool that wants to run.")
    input: dict[str, Any] = Field(default_factory=dict, description="Its arguments.")
    tool_use_id: str | None = Field(default=None, description="The call.")


class Refusal(Exception):
    """No, with the sentence for the model."""


class Permissions:
    """`tool` is for the agent's toolbox. `wait_s`: how long the operator has; then the answer is no."""

    def __init__(
        self, policy: ToolPolicy, *, current: CurrentTurn, outgoing: Outgoing, status: StatusKeeper, wait_s: float
    ) -> None:
        self._policy = policy
        self._current = current
        self._outgoing = outgoing
        self._status = status
        self._wait_s = wait_s
        self.tool = Tool(
            PERMISSION_TOOL,
            "For the engine itself: whether a tool call may run. Calling it permits nothing.",
            PermissionArguments,
            self._decide,
        )

    async def _decide(self, arguments: PermissionArguments) -> ToolAnswer:
        """One text, as the engine wants it; a failure is a no."""
        request = _request(arguments)
        try:
            await self._check(request)
        except (Refusal, HiveError) as error:
            log.info("tool call refused", tool=request.tool, reason=str(error)[:200])
            return ToolAnswer((json.dumps({"behavior": "deny", "message": str(error)}),))
        return ToolAnswer((json.dumps({"behavior": "allow", "updatedInput": arguments.input}),))

    async def _check(self, request: PermissionRequest) -> None:
        """Raises `Refusal` or `HiveError` unless it may run."""
        policy = self._policy
        if policy.permission_policy is PermissionPolicy.ALLOW:
            return
        if request.tool == SHELL and _allowed(policy, request.command):
            return
        if policy.permission_policy is PermissionPolicy.DENY:
            raise Refusal(f"The policy of this agent does not allow this{_allowed_words(policy, request)}. {_NEXT}")
        turn = self._current.turn
        if turn is None:
            raise Refusal("There is no turn now, so nobody is asked.")
        check_permission(request)
        await self._ask(turn, request)

    async def _ask(self, turn: Turn, request: PermissionRequest) -> None:
        self._status.update(detail=f"waits for the operator's permission: {request.tool}: {request.command}")
        try:
            with turn.excused():  # its clocks do not run while a person thinks
                answer = await self._answer(turn, request)
        finally:
            if not turn.over:
                self._status.update(detail="")
        _obey(turn, request, answer)

    async def _answer(self, turn: Turn, request: PermissionRequest) -> str:
        """A run that repeats this turn uses the same key, and finds the question, or its answer, again.

        Only a question that such an earlier run took back at its end is asked anew.
        """
        key = turn.reserve_call_key(PERMISSION_TOOL, request.model_dump_json())
        for number in range(MOST_ASKED):
            answered = await self._wait(turn, request, f"{key}-{number}" if number else key)
            if answered.answer != CANCELLED or answered.answerer == OPERATOR:
                return answered.answer
        return CANCELLED

    async def _wait(self, turn: Turn, request: PermissionRequest, key: str) -> QuestionAnswered:
        """Raises `Refusal` when the broker refuses, nobody answers in time, or the turn ends; then it is taken back."""
        options = tuple(choice.value for choice in Choice if choice is not Choice.ALWAYS or request.pattern)
        wish = AskQuestion(
            question=f"May I use {request.tool}?",
            options=options,
            ttl_seconds=self._wait_s,
            cause=turn.newest,
            permission=request,
        )
        try:
            with turn.excused():
                async with asyncio.timeout(self._wait_s + LATE_S) as wait:
                    turn.waits.add(wait)
                    answer = await self._outgoing.ask_and_wait(wish, key)
        except TimeoutError:
            await self._take_back(key)
            raise Refusal(_OVER if turn.over else _no_answer(self._wait_s)) from None
        finally:
            turn.waits.discard(wait)
        if isinstance(answer, ThreadRefused):
            raise Refusal(f"The operator cannot be asked for permission: {answer.reason.rstrip('.')}. {_NEXT}")
        return answer

    async def _take_back(self, key: str) -> None:
        """Nobody waits for the answer any more. Where this fails the question expires by itself."""
        try:
            await self._outgoing.request(CancelQuestion(id=self._outgoing.question_id(key)), f"{key}-cancel")
        except HiveError as error:
            log.info("question not taken back", reason=str(error))


def _obey(turn: Turn, request: PermissionRequest, answer: str) -> None:
    """Note what was decided; raises `Refusal` for a no."""
    if answer == EXPIRED:
        raise Refusal(f"No: the operator did not answer in time. {_NEXT}")
    if answer == CANCELLED:
        raise Refusal(f"No: the operator took the question off the list. {_NEXT}")
    decision = decision_of(answer)
    words = f" The operator says: {decision.words}" if decision.words else ""
    if decision.choice is Choice.NO:
        raise Refusal(f"The operator said no.{words or f' {_NEXT}'}")
    if not turn.over:
        turn.emit(TurnNote, text=bounded(f"the operator permitted {request.tool} ({decision.choice}){words}", 500))


def _no_answer(seconds: float) -> str:
    return f"No: the operator did not answer within {seconds:g} s. {_NEXT}"


def _allowed(policy: ToolPolicy, command: str) -> bool:
    return not policy.restricts_bash or allows(policy.bash_patterns or (), command)


def _allowed_words(policy: ToolPolicy, request: PermissionRequest) -> str:
    if request.tool != SHELL or not policy.restricts_bash:
        return ""
    listed = ", ".join(policy.bash_patterns or ()) or "none"
    return f"; the shell commands that it allows are: {listed}, one plain command at a time"


def _request(arguments: PermissionArguments) -> PermissionRequest:
    """A shell command is shown as it is; any other call with its arguments."""
    command = arguments.input.get("command")
    if arguments.tool_name == SHELL and isinstance(command, str):
        return PermissionRequest(tool=SHELL, command=command, pattern=propose(command))
    shown = json.dumps(arguments.input, ensure_ascii=False, indent=1)
    return PermissionRequest(tool=arguments.tool_name[:200], command=shown)
