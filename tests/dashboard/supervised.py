"""A dashboard beside a supervisor that is played: it answers every command, and resolves approvals in their store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from tests.dashboard.opened import Opened, opened
from tests.dashboard.proposals import SHA

from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed
from hive_contracts.approvals import ApprovalState, Decision, ReadConfig, ResolveApproval
from hive_contracts.envelope import Envelope
from hive_runtime.bus import Bus
from hive_runtime.consumer import Consumer
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.approvals import ApprovalWriter

STATES: Final = {
    Decision.APPROVE: ApprovalState.APPROVED,
    Decision.DENY: ApprovalState.DENIED,
    Decision.REQUEST_CHANGES: ApprovalState.CHANGES_REQUESTED,
}


async def supervise(bus: Bus, answer: Callable[[Envelope], CommandDone | CommandFailed]) -> None:
    """Be a supervisor that answers each command so, until cancelled."""
    await bus.ensure_group(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR)
    consumer = Consumer(bus, streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR, "played")
    try:
        while True:
            for entry in await consumer.read():
                command = Envelope.decode(entry.fields)
                fact = Envelope.of(answer(command), source="supervisor", correlation_id=command.id)
                await bus.append(streams.EVENTS, fact)
    finally:
        await consumer.aclose()


@dataclass(slots=True)
class Played:
    """`done` are the commands that were carried out, with `result`, or refused with the code and words of `refusal`.
    `config` is what an agent runs with; to read it is no deed."""

    hive: Opened
    writer: ApprovalWriter
    bus: MemoryBus
    config: dict[str, Any] = field(default_factory=dict)
    done: list[Envelope] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[str, str] | None = None

    @property
    def wishes(self) -> list[ResolveApproval]:
        return [one.payload(ResolveApproval) for one in self.done if one.type == ResolveApproval.TYPE]

    async def page(self, path: str, *, status: int = 200) -> str:
        answer = await self.hive.browser.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def decide(self, identity: str, decision: str, **fields: str) -> httpx.Response:
        return await self.hive.post(f"/approvals/{identity}/decision", decision=decision, **({"commit": SHA} | fields))

    def carry_out(self, command: Envelope) -> CommandDone | CommandFailed:
        about = {"command": command.type, "subject": "ada"}
        if command.type == ReadConfig.TYPE:
            return CommandDone(**about, result=self.config)
        self.done.append(command)
        refusal = self.refusal or self._resolve(command)
        if refusal:
            return CommandFailed(**about, code=refusal[0], reason=refusal[1])
        return CommandDone(**about, result=self.result)

    def _resolve(self, command: Envelope) -> tuple[str, str] | None:
        """Why not; None once it is done, or where there is nothing to resolve."""
        if command.type != ResolveApproval.TYPE:
            return None
        wish = command.payload(ResolveApproval)
        found = self.writer.get(wish.id)
        assert found
        if found.state is not ApprovalState.PENDING:
            return "refused", f"{found.id} is {found.state.value} already; nothing was changed"
        self.writer.move(found, STATES[wish.decision], at=datetime.now(UTC), note=wish.note)
        return None


@asynccontextmanager
async def played(folder: Path, config: dict[str, Any]) -> AsyncIterator[Played]:
    bus = MemoryBus()
    writer = ApprovalWriter(folder / "approvals.sqlite")
    async with opened(bus, folder) as hive:
        await hive.sign_in()
        stage = Played(hive, writer, bus, config)
        supervisor = asyncio.create_task(supervise(bus, stage.carry_out))
        try:
            yield stage
        finally:
            supervisor.cancel()
            await asyncio.wait([supervisor])
            writer.close()


def play(folder: Path, story: Callable[[Played], Awaitable[None]], config: dict[str, Any] | None = None) -> None:
    """The operator is signed in."""

    async def main() -> None:
        async with asyncio.timeout(20), played(folder, config or {}) as stage:
            await story(stage)

    asyncio.run(main())
