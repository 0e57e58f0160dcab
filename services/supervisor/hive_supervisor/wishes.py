"""What a manager asks: which of its commands are taken, and the answers to those that only look."""

from typing import Any, Final, Protocol

from pydantic import ValidationError

from hive_contracts import streams
from hive_contracts.agents import AgentRecord, AgentState
from hive_contracts.envelope import Envelope
from hive_contracts.errors import Refused
from hive_contracts.wishes import AGENT_SOURCE, LIFECYCLE, WISHES, GetLogs, ListAgents
from hive_runtime.bus import Bus
from hive_supervisor.errors import UnknownAgent
from hive_supervisor.runtimes.base import ContainerRuntime

MAX_LINE: Final = 500

_KINDS: Final = frozenset(kind.TYPE for kind in WISHES)
_LIFECYCLE: Final = frozenset(kind.TYPE for kind in LIFECYCLE)


def asker_of(command: Envelope) -> str:
    """The manager whose wish it is; empty for the operator's own."""
    return command.source.removeprefix(AGENT_SOURCE) if command.source.startswith(AGENT_SOURCE) else ""


def check_wish(command: Envelope) -> None:
    """The broker let it pass; nothing that is the operator's comes by this way all the same. Raises `Refused`."""
    asker = asker_of(command)
    if not asker:
        return
    if command.type not in _KINDS:
        raise Refused(f"{command.type} is the operator's to do")
    if command.type in _LIFECYCLE and command.subject == asker:
        raise Refused("you cannot do this to yourself; ask the operator")


class Answering(Protocol):
    """Who answers some kinds of commands with what they ask for, and carries them out once by itself."""

    def takes(self, command: Envelope) -> bool: ...

    async def answer(self, command: Envelope) -> dict[str, Any]:
        """What was asked for. Raises `HiveError`, `MalformedEnvelope`."""
        ...


class Looks:
    """Answers to wishes that change nothing. Raises `Unavailable`, `UnknownAgent`."""

    def __init__(self, bus: Bus, runtime: ContainerRuntime) -> None:
        self._bus = bus
        self._runtime = runtime

    def takes(self, command: Envelope) -> bool:
        return command.type in (ListAgents.TYPE, GetLogs.TYPE)

    async def answer(self, command: Envelope) -> dict[str, Any]:
        if command.type == ListAgents.TYPE:
            return {"agents": await self._agents()}
        return await self._logs(command.payload(GetLogs))

    async def _agents(self) -> list[dict[str, Any]]:
        records = await self._bus.hash_all(streams.AGENTS)
        return [await self._account(AgentRecord.read(text)) for _, text in sorted(records.items())]

    async def _account(self, record: AgentRecord) -> dict[str, Any]:
        state = _state(await self._bus.hash_all(streams.state(record.name)))
        about = {
            "name": record.name,
            "role": record.role.value,
            "wanted": record.desired.value,
            "container": record.container.value,
            "detail": record.detail,
            "model": record.model.name,
            "waiting": await self._bus.depth(streams.inbox(record.name)),
        }
        return about | ({"doing": state.state.value, "since": state.since.isoformat()} if state else {})

    async def _logs(self, wish: GetLogs) -> dict[str, Any]:
        if wish.name not in await self._bus.hash_all(streams.AGENTS):
            raise UnknownAgent(f"there is no agent called {wish.name}")
        return {"lines": [line[:MAX_LINE] for line in await self._runtime.logs(wish.name, wish.lines)]}


def _state(fields: dict[str, str]) -> AgentState | None:
    try:
        return AgentState.model_validate_json(fields.get(streams.STATE_FIELD, ""))
    except ValidationError:
        return None
