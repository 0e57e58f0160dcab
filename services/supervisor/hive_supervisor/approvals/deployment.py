"""From an approved commit to an agent that runs it, or back to what ran before. One after the other.

Cut off anywhere, it is begun again at the next start: giving an agent the same configuration twice changes nothing,
tags are made once, and a row leaves `approved` only when all else is done.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import structlog

from hive_contracts.agents import ContainerStatus
from hive_contracts.approvals import ApprovalState, ApprovalView
from hive_contracts.errors import HiveError
from hive_contracts.models import AgentConfig
from hive_supervisor.approvals.approvals import Approvals
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.errors import CannotStart

LOG_LINES: Final = 20

T = TypeVar("T")

log = structlog.get_logger()


class Host(Protocol):
    """What a deployment asks of the supervisor."""

    async def configure(self, name: str, config: AgentConfig) -> ContainerStatus | None:
        """Give it this configuration and restart it if it runs; returns once it is up, has crashed or is stopped."""
        ...

    async def logs(self, name: str, lines: int) -> tuple[str, ...]: ...


class Deployment:
    """`add` what is approved; `run` deploys it until cancelled."""

    def __init__(self, host: Host, *, timeout_s: float) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._waiting: asyncio.Queue[ApprovalView] = asyncio.Queue()

    def add(self, approval: ApprovalView) -> None:
        self._waiting.put_nowait(approval)

    async def run(self, approvals: Approvals) -> None:
        while True:
            approval = await self._waiting.get()
            try:
                await self._deploy(approval, approvals)
            except HiveError as error:
                log.warning("deployment is held up", approval=approval.id, code=error.code, reason=str(error))
                await approvals.move(approval, ApprovalState.FAILED, error=str(error))

    async def _deploy(self, approval: ApprovalView, approvals: Approvals) -> None:
        repository = approvals.repository(approval.agent)
        if await _in_thread(repository.tagged, Tag.DEPLOYED, approval.id) is None:
            if await _in_thread(repository.main) != approval.base:
                error = f"another commit was deployed before it: {approval.base[:12]} runs no more"
                await approvals.move(approval, ApprovalState.VOID, error=error)
                return
            failure = await self._try(approval, repository)
            if failure:
                await self._give_back(approval, repository, failure)
                await approvals.move(approval, ApprovalState.FAILED, error=failure)
                return
            await _in_thread(repository.tag, Tag.DEPLOYED, approval.id, approval.commit)
        await _in_thread(lambda: repository.move_main(approval.commit, before=approval.base))
        await approvals.move(approval, ApprovalState.DEPLOYED)

    async def _try(self, approval: ApprovalView, repository: ConfigRepository) -> str:
        """Empty when the agent is healthy with it, else why not."""
        if await _in_thread(repository.tagged, Tag.FAILED, approval.id):
            return await _in_thread(repository.note, Tag.FAILED, approval.id) or "it failed before"
        config = (await _in_thread(repository.agent_file, approval.commit)).config
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._host.configure(approval.agent, config)
        except TimeoutError:
            return f"{approval.agent} was not healthy within {self._timeout_s:.0f} s"
        except CannotStart as error:
            return str(error)
        if status in (ContainerStatus.RUNNING, ContainerStatus.STOPPED):
            return ""
        tail = "\n".join(await self._host.logs(approval.agent, LOG_LINES))
        return f"{approval.agent} did not come up with it. Its last lines:\n{tail}"

    async def _give_back(self, approval: ApprovalView, repository: ConfigRepository, failure: str) -> None:
        await _in_thread(repository.tag, Tag.FAILED, approval.id, approval.commit, failure)
        config = (await _in_thread(repository.agent_file, approval.base)).config
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._host.configure(approval.agent, config)
        except (TimeoutError, CannotStart) as error:
            log.warning("the agent is not healthy with what ran before either", agent=approval.agent, reason=str(error))


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.to_thread(work, *arguments)
