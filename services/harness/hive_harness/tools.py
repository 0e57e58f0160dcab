"""The MCP tools: what an engine can ask of the hive. Bad arguments and refusals are answers, never exceptions."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hive_contracts.errors import HiveError, InboxFull, TooFast, Unavailable
from hive_contracts.messages import MAX_BODY_BYTES, MessageRefused
from hive_harness import prompt
from hive_harness.config import HarnessConfig
from hive_harness.errors import NotInTurn
from hive_harness.inbox import Inbox
from hive_harness.outgoing import Letter, Outgoing
from hive_harness.status import StatusKeeper
from hive_harness.turn import CurrentTurn, Received

MAX_WAIT_S: Final = 180
MAX_DRAIN: Final = 32

OTHER_ARGUMENTS: Final = "Try again with other arguments."
SAME_LATER: Final = "Try the same call again later."
STOP: Final = "Trying again will not help."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """One text block each, so that no text of one message can pass for the header of another."""

    texts: tuple[str, ...]
    is_error: bool = False


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecvArguments(Arguments):
    wait_seconds: float = Field(default=0, ge=0, le=MAX_WAIT_S, description="How long to wait for a first message.")
    max: int = Field(default=MAX_DRAIN, ge=1, le=MAX_DRAIN, description="How many messages to take at most.")


class SendArguments(Arguments):
    to: str = Field(description="An agent's name, 'operator', or '*' for every other agent.")
    body: str = Field(description=f"The text, at most {MAX_BODY_BYTES} bytes.")
    in_reply_to: str | None = Field(default=None, description="The id of the message that this one answers.")
    context_only: bool = Field(
        default=False, description="Do not wake the recipient: it reads this with the next message that does."
    )
    urgent: bool = Field(
        default=False, description="Interrupt what the recipient does. The manager's alone; others are refused."
    )


class WhoamiArguments(Arguments):
    pass


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    arguments: type[Arguments]
    call: Callable[[Any], Awaitable[ToolAnswer]]

    def schema(self) -> dict[str, Any]:
        """The arguments' JSON schema, without the noise that pydantic adds."""
        schema = self.arguments.model_json_schema()
        properties = {
            name: {key: value for key, value in part.items() if key != "title"}
            for name, part in schema.get("properties", {}).items()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False} | (
            {"required": schema["required"]} if "required" in schema else {}
        )


class Toolbox:
    """The tools of one agent."""

    def __init__(
        self, config: HarnessConfig, *, current: CurrentTurn, inbox: Inbox, outgoing: Outgoing, status: StatusKeeper
    ) -> None:
        self._config = config
        self._current = current
        self._inbox = inbox
        self._outgoing = outgoing
        self._status = status
        tools = (
            Tool(
                "recv",
                "Take further messages out of your inbox into the current turn. Each is returned with its id and "
                "sender; '(empty)' when there are none. The message you were woken with is not among them.",
                RecvArguments,
                self._recv,
            ),
            Tool(
                "send",
                "Send a message to another agent or to the operator. Returns once the hive has accepted it; an answer "
                "arrives later as a message of its own.",
                SendArguments,
                self._send,
            ),
            Tool("whoami", "Your name, role, model and how many messages wait for you.", WhoamiArguments, self._whoami),
        )
        self.tools = {tool.name: tool for tool in tools}

    def add(self, *tools: Tool) -> None:
        """Further tools, by name."""
        self.tools |= {tool.name: tool for tool in tools}

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolAnswer:
        """Raises `KeyError` for a tool that is not there, and nothing else."""
        tool = self.tools[name]
        try:
            return await tool.call(tool.arguments.model_validate(arguments))
        except ValidationError as error:
            return refusal(_explain(error), OTHER_ARGUMENTS)
        except HiveError as error:
            return refusal(str(error), _advice(error))
        except Exception:
            log.exception("tool failed", tool=name)
            return refusal("the harness failed to do this; its log says why", STOP)

    async def _recv(self, arguments: RecvArguments) -> ToolAnswer:
        turn = self._current.turn
        if turn is None:
            raise NotInTurn("there is no turn now: messages wake you by themselves")
        if not turn.takes_messages:
            raise NotInTurn("this turn is for your notes; write them down and end it, then messages come by themselves")
        received = await self._inbox.drain(turn, wait_s=arguments.wait_seconds, most=arguments.max)
        return ToolAnswer(tuple(prompt.build(wake_of(item)) for item in received) or ("(empty)",))

    async def _send(self, arguments: SendArguments) -> ToolAnswer:
        turn = self._current.turn
        if turn is None:
            raise NotInTurn("there is no turn now: send while you work on a message")
        to, body, reply = arguments.to, arguments.body, arguments.in_reply_to or None
        key = turn.reserve_key(to, body, reply)
        try:
            cause, quiet = turn.newest, arguments.context_only
            letter = Letter(to, body, reply, cause=cause, context_only=quiet, urgent=arguments.urgent)
            answer = await self._outgoing.send(letter, key)
        except HiveError:
            turn.give_back_key(to, body, reply)
            raise
        if not isinstance(answer, MessageRefused):
            turn.counts.sent(to)
        if answer is None:
            text = (
                f"stored for {to}; the hive has not confirmed it yet and will deliver it by itself, do not send again"
            )
            return ToolAnswer((text,))
        if isinstance(answer, MessageRefused):
            turn.give_back_key(to, body, reply)
            return refusal(answer.reason, _advice_on(answer))
        note = f"\n{answer.note}" if answer.note else ""
        return ToolAnswer((f"sent {answer.message_id} to {to}{note}",))

    async def _whoami(self, arguments: WhoamiArguments) -> ToolAnswer:
        facts = {
            "name": self._config.agent,
            "role": self._config.role,
            "engine": self._config.engine,
            "model": self._status.state.model.active,
            "state_directory": str(self._config.state_dir),
            "unread": await self._status.count_unread(),
            "turn": self._status.state.turn_id,
        }
        return ToolAnswer((json.dumps(facts),))


def wake_of(received: Received, *, waiting: int = 0) -> prompt.Wake:
    message = received.message
    return prompt.Wake(
        message.id,
        message.sender,
        message.body,
        in_reply_to=message.in_reply_to,
        waiting=waiting,
        redelivered=received.redelivered,
        broadcast=message.broadcast,
        context_only=message.context_only,
    )


def refusal(reason: str, advice: str) -> ToolAnswer:
    return ToolAnswer((f"{reason.rstrip('.')}. {advice}",), is_error=True)


def _advice_on(refused: MessageRefused) -> str:
    if refused.code in {TooFast.code, InboxFull.code}:
        return SAME_LATER
    return OTHER_ARGUMENTS if refused.retry else STOP


def _advice(error: HiveError) -> str:
    if isinstance(error, Unavailable):
        return SAME_LATER
    return STOP if isinstance(error, NotInTurn) else OTHER_ARGUMENTS


def _explain(error: ValidationError) -> str:
    problems = (
        f"{'.'.join(str(part) for part in item['loc']) or 'arguments'}: {item['msg']}" for item in error.errors()
    )
    return "the arguments are not valid: " + "; ".join(problems)
