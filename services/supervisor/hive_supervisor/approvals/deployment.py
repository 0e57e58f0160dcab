"""From an approved request to what it asks for, or back to what was before. One after the other for each agent.

Cut off anywhere, it is begun again at the next start: giving an agent the same configuration twice changes nothing,
tags are made once, and a row leaves `approved` only when all else is done. While git or a store is away it waits.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from hive_contracts.agent_file import AgentFile
from hive_contracts.agents import ContainerStatus
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.errors import HiveError, Refused, Unavailable
from hive_contracts.models import AgentConfig
from hive_runtime.backoff import Backoff
from hive_supervisor.approvals.ledger import Ledger
from hive_supervisor.configs.configs import Configs
from hive_supervisor.configs.repository import Tag

LOG_LINES: Final = 20
LONGEST_WAIT_S: Final = 5.0
"""Between two tries while git or a store is away, in seconds."""

T = TypeVar("T")

log = structlog.get_logger()


class Host(Protocol):
    """What a deployment asks of the supervisor. Each may be asked again, and raises `HiveError`."""

    async def configure(self, name: str, config: AgentConfig) -> ContainerStatus | None:
        """Give it this configuration and restart it if it runs; returns once it is up, has crashed or is stopped."""
        ...

    async def spawn(self, name: str, description: str, config: AgentConfig) -> ContainerStatus | None:
        """Make it, or bring it back, with exactly this configuration; returns once it is up or has crashed."""
        ...

    async def unspawn(self, name: str, kept: AgentConfig | None) -> None:
        """Undo that: destroy it with the configuration that was kept of it, or purge it when nothing was."""
        ...

    async def purge(self, name: str) -> None:
        """Returns once nothing of it is left."""
        ...

    async def lacks(self, name: str, packages: Sequence[str]) -> list[str]:
        """Those that its container, which runs, has not."""
        ...

    async def logs(self, name: str, lines: int) -> tuple[str, ...]: ...


class Deployment:
    """`add` what is approved; `run` deploys it until cancelled."""

    def __init__(self, host: Host, *, timeout_s: float) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._waiting: asyncio.Queue[ApprovalView] = asyncio.Queue()
        self._known: dict[str, asyncio.Event] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def add(self, approval: ApprovalView) -> asyncio.Event:
        """Set once it is over. Nothing more to do for one that is on its way."""
        if approval.id not in self._known:
            self._known[approval.id] = asyncio.Event()
            self._waiting.put_nowait(approval)
        return self._known[approval.id]

    async def run(self, ledger: Ledger, configs: Configs) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                approval = await self._waiting.get()
                tasks.create_task(self._in_turn(approval, ledger, configs), name=f"deployment of {approval.id}")

    async def _in_turn(self, approval: ApprovalView, ledger: Ledger, configs: Configs) -> None:
        async with self._turns[approval.agent]:  # in the order in which they were approved
            backoff = Backoff(limit_s=LONGEST_WAIT_S)
            while True:
                try:
                    await _Deployed(approval, self._host, ledger, configs, self._timeout_s).carry_out()
                    break
                except Unavailable as error:
                    log.warning("deployment waits", approval=approval.id, code=error.code, reason=str(error))
                    await backoff.wait()
                except Exception:  # one that cannot be carried out must not end all others, again at each start
                    log.exception("deployment broke off", approval=approval.id)
                    await ledger.move(approval, ApprovalState.FAILED, error="it broke off; see hive logs supervisor")
                    break
        self._known.pop(approval.id).set()


class _Deployed:
    """One approval's way."""

    def __init__(self, approval: ApprovalView, host: Host, ledger: Ledger, configs: Configs, timeout_s: float) -> None:
        self._approval = approval
        self._host = host
        self._ledger = ledger
        self._configs = configs
        self._timeout_s = timeout_s
        self._repository = configs.repository(approval.agent)

    async def carry_out(self) -> None:
        """Raises `Unavailable`: to be done again."""
        try:
            if self._approval.kind is ApprovalKind.PURGE:
                await self._purge()
            else:
                await self._deploy()
        except Unavailable:
            if not self._approval.commit or self._repository.path.is_dir():
                raise
            await self._end(ApprovalState.FAILED, f"the configuration of {self._approval.agent} is gone")
        except HiveError as error:
            await self._give_up(str(error))

    async def _give_up(self, failure: str) -> None:
        try:
            await self._fail(failure)
        except Unavailable:
            raise
        except HiveError as error:
            await self._end(ApprovalState.FAILED, f"{failure}; what ran before was not given back: {error}")

    async def _purge(self) -> None:
        await self._host.purge(self._approval.agent)
        await self._end(ApprovalState.DEPLOYED)

    async def _deploy(self) -> None:
        approval, repository = self._approval, self._repository
        if await _in_thread(repository.tagged, Tag.DEPLOYED, approval.id) is None:
            if failed := await _in_thread(repository.tagged, Tag.FAILED, approval.id):
                await self._fail(await _in_thread(repository.note, Tag.FAILED, approval.id) or f"{failed} failed")
                return
            if await _in_thread(repository.main) != approval.base:
                reason = f"another commit was deployed before it: {approval.base[:12]} runs no more"
                await self._end(ApprovalState.VOID, reason)
                return
            await _in_thread(repository.tag, Tag.APPROVED, approval.id, approval.commit, approval.note)
            if failure := await self._try():
                await self._fail(failure)
                return
            await _in_thread(repository.tag, Tag.DEPLOYED, approval.id, approval.commit)
        await _in_thread(lambda: repository.move_main(approval.commit, before=approval.base))
        if draft := self._ledger.store.draft(approval.agent) if approval.kind.spawns else None:
            await self._ledger.end_draft(draft, became=True)
        await self._end(ApprovalState.DEPLOYED)

    async def _try(self) -> str:
        """Empty when the agent is healthy with it, else why not."""
        name = self._approval.agent
        file = await _in_thread(self._repository.agent_file, self._approval.commit)
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._give(file)
        except TimeoutError:
            return f"{name} was not healthy within {self._timeout_s:.0f} s"
        except Refused as error:
            return str(error)
        if status is ContainerStatus.RUNNING or (status is ContainerStatus.STOPPED and not self._approval.kind.spawns):
            return await self._lacking(file, status)
        tail = "\n".join(await self._host.logs(name, LOG_LINES))
        return f"{name} did not come up with it. Its last lines:\n{tail}"

    async def _lacking(self, file: AgentFile, status: ContainerStatus) -> str:
        """Whether what the file names is not there; of a container that does not run nobody can tell."""
        name = self._approval.agent
        if not file.packages or status is not ContainerStatus.RUNNING:
            return ""
        missing = ", ".join(await self._host.lacks(name, file.packages))
        advice = "put them into [images] packages and run hive image build, or install them where agents run"
        return f"the container of {name} lacks {missing}; {advice}" if missing else ""

    async def _give(self, file: AgentFile) -> ContainerStatus | None:
        approval = self._approval
        if approval.kind.spawns:
            return await self._host.spawn(approval.agent, file.description or approval.description, file.config)
        return await self._host.configure(approval.agent, file.config)

    async def _fail(self, failure: str) -> None:
        """Keep the failure, then give back what was before: in this order, for one cut short is only given back."""
        approval = self._approval
        if approval.commit:
            await _in_thread(self._repository.tag, Tag.FAILED, approval.id, approval.commit, failure)
            await self._give_back()
        await self._end(ApprovalState.FAILED, failure)

    async def _give_back(self) -> None:
        approval = self._approval
        before = None
        if approval.revives or not approval.kind.spawns:
            before = (await _in_thread(self._repository.agent_file, approval.base)).config
        try:
            async with asyncio.timeout(self._timeout_s):
                if approval.kind.spawns:
                    await self._host.unspawn(approval.agent, before)
                elif before is not None:
                    await self._host.configure(approval.agent, before)
        except (TimeoutError, Refused) as error:
            log.warning("the agent is not healthy with what ran before either", agent=approval.agent, reason=str(error))

    async def _end(self, state: ApprovalState, error: str = "") -> None:
        await self._ledger.move(self._approval, state, error=error)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.to_thread(work, *arguments)
