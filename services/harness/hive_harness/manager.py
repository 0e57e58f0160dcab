"""The MCP tools that only the manager has: look after the other agents. The broker refuses them to anybody else."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import Field

from hive_contracts.agents import CommandDone, CommandFailed, RebuildAgent, RestartAgent, StartAgent, StopAgent
from hive_contracts.envelope import Payload
from hive_contracts.errors import HiveError, Refused
from hive_contracts.ids import new_id
from hive_contracts.wishes import MAX_LOG_LINES, GetLogs, ListAgents
from hive_harness.errors import NotInTurn
from hive_harness.outgoing import Outgoing, check_name
from hive_harness.tools import OTHER_ARGUMENTS, SAME_LATER, Arguments, Tool, ToolAnswer, refusal
from hive_harness.turn import CurrentTurn

STORED: Final = "stored; the hive will do it by itself and has not answered yet: look with list_agents"

Words = Callable[[dict[str, Any]], str]


class NoArguments(Arguments):
    pass


class NameArguments(Arguments):
    name: str = Field(description="The agent's name.")


class LogArguments(NameArguments):
    lines: int = Field(default=50, ge=1, le=MAX_LOG_LINES, description="How many of the last lines.")


class Wishes:
    """How a manager's tools ask the supervisor."""

    def __init__(self, current: CurrentTurn, outgoing: Outgoing) -> None:
        self._current = current
        self._outgoing = outgoing

    async def look(self, wish: Payload, words: Words) -> ToolAnswer:
        """For what changes nothing; `words` makes the answer's text of its result. Raises `HiveError`."""
        answer = await self._outgoing.wish(wish, new_id())
        return refusal("the hive does not answer now", SAME_LATER) if answer is None else _told(answer, words)

    async def act(self, wish: Payload, words: Words, *, about: str) -> ToolAnswer:
        """For what changes something: within a turn; the same call, when the turn is run again, is the same wish.

        `about`: what makes two calls the same. Raises `HiveError`.
        """
        turn = self._current.turn
        if turn is None:
            raise NotInTurn("there is no turn now: do this while you work on a message")
        key = turn.reserve_call_key(wish.TYPE, about)
        try:
            answer = await self._outgoing.wish(wish, key)
        except HiveError:
            turn.give_back_call_key(wish.TYPE, about)
            raise
        if answer is None:
            return ToolAnswer((STORED,))
        if isinstance(answer, CommandFailed):
            turn.give_back_call_key(wish.TYPE, about)
        return _told(answer, words)


def _told(answer: CommandDone | CommandFailed, words: Words) -> ToolAnswer:
    if isinstance(answer, CommandFailed):
        return refusal(answer.reason, OTHER_ARGUMENTS)
    return ToolAnswer((words(answer.result),))


class ManagerTools:
    """`tools` are for a manager's toolbox."""

    def __init__(self, agent: str, wishes: Wishes) -> None:
        self._agent = agent
        self._wishes = wishes
        self.tools: tuple[Tool, ...] = (
            Tool(
                "list_agents",
                "Every agent of the hive: its role, container, what it does now, how many messages wait for it.",
                NoArguments,
                self._list_agents,
            ),
            Tool("start", "Start an agent that is stopped or crashed.", NameArguments, self._lifecycle(StartAgent)),
            Tool(
                "stop",
                "Stop an agent's container. Its state and its messages are kept.",
                NameArguments,
                self._lifecycle(StopAgent),
            ),
            Tool(
                "restart",
                "Stop an agent's container and start it again; a message in hand is taken up again.",
                NameArguments,
                self._lifecycle(RestartAgent),
            ),
            Tool(
                "rebuild",
                "Bring an agent's container up to date, by a restart if it is behind; nothing is done if it is not.",
                NameArguments,
                self._lifecycle(RebuildAgent),
            ),
            Tool("get_logs", "The last lines that an agent's container wrote.", LogArguments, self._get_logs),
        )

    async def _list_agents(self, _arguments: NoArguments) -> ToolAnswer:
        return await self._wishes.look(ListAgents(), lambda result: _as_json(result.get("agents", [])))

    async def _get_logs(self, arguments: LogArguments) -> ToolAnswer:
        check_name(arguments.name)
        wish = GetLogs(name=arguments.name, lines=arguments.lines)
        return await self._wishes.look(wish, lambda result: "\n".join(result.get("lines", ())) or "(nothing)")

    def _lifecycle(self, kind: Callable[..., Payload]) -> Callable[[Any], Awaitable[ToolAnswer]]:
        async def call(arguments: NameArguments) -> ToolAnswer:
            name = arguments.name
            check_name(name)
            if name == self._agent:
                raise Refused("you cannot do this to yourself; ask the operator")
            words: Words = lambda done: f"{name} is {done.get('status', 'on its way')}"  # noqa: E731
            return await self._wishes.act(kind(name=name), words, about=name)

        return call


def _as_json(document: Any) -> str:
    """JSON, so that no text in it can pass for a field."""
    return json.dumps(document, ensure_ascii=False)
