"""The operator of the hive under test: sends the plan's roots over HTTP, reads the answers, keeps what was promised.

Each send has an idempotency key and is tried again under it until the hive has said 201 or no. One recipient's messages
go one after the other, so that their order is known.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from hive_cli.chaos.plan import Plan, Planned
from hive_cli.chaos.stage import Stage
from hive_cli.client import HiveClient
from hive_cli.errors import ApiProblem
from hive_contracts.errors import HiveError, Unavailable
from hive_contracts.names import OPERATOR
from hive_runtime.backoff import Backoff
from hive_runtime.records.messages import MessageReader

MAX_UNREAD: Final = 10
"""So many messages may wait at one agent before the next is sent to it."""

AGAIN_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
LOOK_S: Final = 0.5
LATER: Final = frozenset({408, 409, 425, 429})
"""Refusals that pass by themselves."""

T = TypeVar("T")


@dataclass(slots=True)
class Ledger:
    """What the operator knows. `attempts` counts tries; `accepted` is number → message id, in order of acceptance."""

    attempts: Counter[int] = field(default_factory=Counter)
    accepted: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


class Driver:
    """`send_all` returns when every root is accepted or refused; `read_all` and `watch` run until cancelled."""

    def __init__(self, stage: Stage, plan: Plan, *, seed: int, threads: int) -> None:
        self._api: HiveClient = stage.api()
        self._plan = plan
        self._key = f"chaos-{seed}"
        self._messages = MessageReader(stage.data.root / "broker.sqlite")
        self._threads = ThreadPoolExecutor(threads)
        self._unread: dict[str, int] = {}
        self.ledger = Ledger()

    def progress(self) -> float:
        """The share of the roots that is accepted or refused."""
        return (len(self.ledger.accepted) + len(self.ledger.refused)) / len(self._plan.roots)

    async def spawn(self, agents: list[str]) -> None:
        """Make these agents; all of them run afterwards."""
        for name in agents:
            body = {"name": name, "engine": "scripted", "description": "takes part in a chaos run"}
            await self._do(partial(self._api.post, "/api/v1/agents", body))

    async def send_all(self) -> None:
        queues: dict[str, list[Planned]] = {}
        for root in self._plan.roots:
            queues.setdefault(root.recipient, []).append(root)
        async with asyncio.TaskGroup() as group:
            for name, roots in queues.items():
                group.create_task(self._send_in_order(name, roots))

    async def watch(self) -> None:
        """Know how many messages wait at each agent."""
        while True:
            with contextlib.suppress(HiveError):
                agents = (await self._do(partial(self._api.get, "/api/v1/agents")))["agents"]
                self._unread = {agent["name"]: agent["unread"] for agent in agents}
            await asyncio.sleep(LOOK_S)

    async def read_all(self) -> None:
        """Mark as read whatever reaches the operator's inbox."""
        while True:
            with contextlib.suppress(Unavailable):
                for message in await self._do(partial(self._messages.inbox, OPERATOR, limit=200, undone=True)):
                    with contextlib.suppress(HiveError):
                        await self._do(partial(self._api.post, f"/api/v1/messages/{quote(message.id)}/read"))
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def _send_in_order(self, name: str, roots: list[Planned]) -> None:
        for root in roots:
            while self._unread.get(name, 0) >= MAX_UNREAD:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(AGAIN_S)
            await self._send(root)

    async def _send(self, root: Planned) -> None:
        """Until it is accepted, or refused for good."""
        body = {"to": root.recipient, "body": self._plan.body(root.number)}
        headers = {"Idempotency-Key": f"{self._key}-{root.number}"}
        backoff = Backoff(first_s=AGAIN_S, limit_s=LONGEST_PAUSE_S)
        while True:
            self.ledger.attempts[root.number] += 1
            try:
                reply = await self._do(partial(self._api.post, "/api/v1/messages", body, headers=headers))
            except HiveError as error:
                if _is_final(error):
                    self.ledger.refused[root.number] = str(error)
                    return
                await backoff.wait()
                continue
            if reply.status == 201:
                self.ledger.accepted[root.number] = reply.data["id"]
                return

    async def _do(self, call: Callable[[], T]) -> T:
        result: Any = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        return result  # type: ignore[no-any-return]


def _is_final(error: HiveError) -> bool:
    return isinstance(error, ApiProblem) and 400 <= error.http_status < 500 and error.http_status not in LATER
