"""All repositories of the hive: where each is, who uses it now, and what it takes over of an agent that had none."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Final, Protocol

import tomli_w

from hive_contracts.agent_file import FILE_NAME
from hive_contracts.agents import Desired
from hive_contracts.approvals import ApprovalState, ApprovalView
from hive_contracts.drafts import DraftView
from hive_contracts.models import AgentConfig
from hive_contracts.names import OPERATOR
from hive_runtime.wiping import wipe
from hive_supervisor.configs.render import render
from hive_supervisor.configs.repository import ConfigRepository
from hive_supervisor.configs.tree import SEED
from hive_supervisor.errors import UnknownAgent
from hive_supervisor.runtimes.base import SeedFile

SOURCE: Final = "supervisor"
_TEMPLATE: Final = f"""\
# What this agent is given; every key may be left out. Files under {SEED} are copied into its /state when it is made.
"""


class Agents(Protocol):
    """What is known of the agents themselves."""

    def wanted(self, name: str) -> Desired | None:
        """None when it is nobody's name."""
        ...

    def config(self, name: str) -> AgentConfig | None:
        """Of an agent that is there."""
        ...

    def kept(self, name: str) -> AgentConfig | None:
        """Of a destroyed one."""
        ...


class Book(Protocol):
    """What is known of approvals and drafts."""

    def in_state(self, state: ApprovalState) -> list[ApprovalView]: ...

    def draft(self, name: str) -> DraftView | None: ...


class Configs:
    """Methods block, so call them from a thread, and with the `lock` of the name where they change something."""

    def __init__(self, directory: Path, agents: Agents, store: Book) -> None:
        self._directory = directory
        self._agents = agents
        self._store = store
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lock(self, name: str) -> asyncio.Lock:
        """One at a time changes a repository."""
        return self._locks[name]

    def repository(self, name: str) -> ConfigRepository:
        return ConfigRepository(self._directory / f"{name}.git")

    def opened(self, name: str) -> ConfigRepository:
        """That of an agent or of a draft; an agent that has none yet gets one from what it runs with.

        Raises `UnknownAgent`.
        """
        config = self._agents.config(name)
        if config is None:
            if self._store.draft(name) is None:
                raise UnknownAgent(
                    f"there is no agent called {name}, and no draft of one; see `hive agents` and `hive drafts`"
                )
            return self.repository(name)
        repository = self.repository(name)
        main = repository.create({FILE_NAME: render(config)}, author=SOURCE, message="As it runs")
        if not self._is_deploying(name) and repository.agent_file(main).config != config:
            files = repository.files(main) | {FILE_NAME: render(config)}  # the operator changed it by another way
            again = repository.commit(files, parent=main, author=OPERATOR, message="As it runs")
            repository.move_main(again, before=main)
        return repository

    def drafted(self, name: str, *, author: str, description: str = "") -> ConfigRepository:
        """For a new draft: what was kept of a destroyed agent, else a template."""
        kept = self._agents.kept(name)
        first = render(kept) if kept else template(description)
        repository = self.repository(name)
        repository.create({FILE_NAME: first}, author=author, message="As it was kept" if kept else "From the template")
        return repository

    def seed(self, name: str) -> tuple[SeedFile, ...]:
        """What the state of `name` begins with: of the commit that it is being made of, else of `main`."""
        repository = self.repository(name)
        if not repository.path.is_dir():
            return ()
        making = [one.commit for one in self._under_way(name) if one.kind.spawns]
        commit = making[0] if making else repository.main()
        return tuple(repository.seed(commit)) if commit else ()

    def keeps(self, name: str) -> bool:
        """Whether the repository of `name` outlives a purge: a draft of that name is there."""
        return self._store.draft(name) is not None

    def forget(self, name: str) -> None:
        wipe(self.repository(name).path)

    def _is_deploying(self, name: str) -> bool:
        return bool(self._under_way(name))

    def _under_way(self, name: str) -> list[ApprovalView]:
        return [one for one in self._store.in_state(ApprovalState.APPROVED) if one.agent == name]


def template(description: str) -> bytes:
    """An `agent.toml` to begin with."""
    return f"{_TEMPLATE}{tomli_w.dumps({'description': description})}".encode()
