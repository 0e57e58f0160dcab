"""The manager's MCP tools for configurations: a clone to work in, and a commit of it for the operator to approve."""

import base64
import json
import re
from typing import Any, Final

from pydantic import Field

from hive_contracts.approvals import MAX_DESCRIPTION, ApprovalState, FetchConfig, RequestApply, RequestPurge
from hive_contracts.drafts import RequestSpawn, RequestSpawnCommit, RequestSpawnDraft
from hive_contracts.errors import InvalidRequest
from hive_harness.clone import Clones
from hive_harness.manager import NameArguments, Wishes
from hive_harness.outgoing import check_name
from hive_harness.tools import Arguments, Tool, ToolAnswer

_SHA: Final = re.compile(r"[0-9a-f]{7,40}\Z")


class FetchArguments(Arguments):
    agent: str = Field(description="Whose configuration.")


class ApplyArguments(FetchArguments):
    commit_ref: str = Field(description="The commit's sha, 7 to 40 digits of it. A branch or a tag is refused.")
    description: str = Field(
        default="", max_length=MAX_DESCRIPTION, description="For the operator: what changes, and why."
    )


class SpawnArguments(NameArguments):
    description: str = Field(default="", max_length=500, description="What the agent is for.")


class SpawnCommitArguments(NameArguments):
    commit_ref: str = Field(description="The commit's sha, 7 to 40 digits of it. A branch or a tag is refused.")
    description: str = Field(default="", max_length=MAX_DESCRIPTION, description="For the operator: what it is for.")


class PurgeArguments(NameArguments):
    description: str = Field(default="", max_length=MAX_DESCRIPTION, description="For the operator: why.")


class ConfigTools:
    """`tools` are for a manager's toolbox."""

    def __init__(self, clones: Clones, wishes: Wishes) -> None:
        self._clones = clones
        self._wishes = wishes
        self.tools: tuple[Tool, ...] = (
            Tool(
                "fetch_config",
                "Get a git clone of an agent's configuration (agent.toml), or bring origin/main in it up to date. "
                "Change it there and commit, then call request_apply_commit.",
                FetchArguments,
                self._fetch,
            ),
            Tool(
                "request_apply_commit",
                "Ask the operator to approve a commit of an agent's configuration and deploy it. Exactly that commit "
                "is shown and deployed; what became of it arrives later as a message from system.",
                ApplyArguments,
                self._apply,
            ),
            Tool(
                "request_spawn",
                "Ask the operator for a new agent with the default configuration, or for a destroyed one to come back.",
                SpawnArguments,
                self._spawn,
            ),
            Tool(
                "request_spawn_draft",
                "Begin a new agent of your own design, at once and without approval: its name is taken, and you get a "
                "git clone of its configuration. Change agent.toml, put files for its /state under seed/, commit, then "
                "call request_spawn_commit.",
                NameArguments,
                self._spawn_draft,
            ),
            Tool(
                "request_spawn_commit",
                "Ask the operator to approve a commit of a draft and make the agent from it. Exactly that commit is "
                "shown and used; what became of it arrives later as a message from system.",
                SpawnCommitArguments,
                self._spawn_commit,
            ),
            Tool(
                "request_purge",
                "Ask the operator to destroy an agent with all that it has: state, messages, configuration.",
                PurgeArguments,
                self._purge,
            ),
        )

    async def _fetch(self, arguments: FetchArguments) -> ToolAnswer:
        agent = arguments.agent
        check_name(agent)
        found: dict[str, Any] = {}
        answer = await self._wishes.look(FetchConfig(name=agent), lambda result: found.update(result) or "")
        if answer.is_error:
            return answer
        status = await self._clones.fetch(agent, base64.b64decode(found["bundle"]))
        about = {"path": str(self._clones.path(agent) / "config"), "main": found["main"], "status": status}
        return ToolAnswer((json.dumps(about),))

    async def _apply(self, arguments: ApplyArguments) -> ToolAnswer:
        agent, commit = arguments.agent, arguments.commit_ref
        check_name(agent)
        check_sha(commit)
        bundle = base64.b64encode(await self._clones.pack(agent, commit)).decode()
        wish = RequestApply(name=agent, commit=commit, bundle=bundle, description=arguments.description)
        return await self._wishes.act(wish, _waits, about=arguments.model_dump_json())

    async def _spawn(self, arguments: SpawnArguments) -> ToolAnswer:
        check_name(arguments.name)
        wish = RequestSpawn(name=arguments.name, description=arguments.description)
        return await self._wishes.act(wish, _waits, about=arguments.model_dump_json())

    async def _spawn_draft(self, arguments: NameArguments) -> ToolAnswer:
        """The draft, and a clone of it at once."""
        name = arguments.name
        check_name(name)
        made: dict[str, Any] = {}
        wish = RequestSpawnDraft(name=name)
        answer = await self._wishes.act(wish, lambda result: made.update(result) or "", about=name)
        if answer.is_error or not made:
            return answer
        fetched = await self._fetch(FetchArguments(agent=name))
        if fetched.is_error or not made.get("revives"):
            return fetched
        return ToolAnswer(
            (*fetched.texts, f"A destroyed {name} is kept: this draft would bring it back, with its state.")
        )

    async def _spawn_commit(self, arguments: SpawnCommitArguments) -> ToolAnswer:
        name, commit = arguments.name, arguments.commit_ref
        check_name(name)
        check_sha(commit)
        bundle = base64.b64encode(await self._clones.pack(name, commit)).decode()
        wish = RequestSpawnCommit(name=name, commit=commit, bundle=bundle, description=arguments.description)
        return await self._wishes.act(wish, _waits, about=arguments.model_dump_json())

    async def _purge(self, arguments: PurgeArguments) -> ToolAnswer:
        check_name(arguments.name)
        wish = RequestPurge(name=arguments.name, description=arguments.description)
        return await self._wishes.act(wish, _waits, about=arguments.model_dump_json())


def check_sha(commit: str) -> None:
    """Raises `InvalidRequest`."""
    if not _SHA.match(commit):
        raise InvalidRequest(f"{commit[:60]!r} is not a sha; a branch or a tag can move")


def _waits(done: dict[str, Any]) -> str:
    if before := done.get("asked_before"):
        state = "waits for the operator" if before == ApprovalState.PENDING else f"is {before}"
        return f"the same was asked for before: {done.get('approval')}, which {state}; nothing new was asked for"
    with_commit = f", with commit {done['commit']}" if done.get("commit") else ""
    kept = "; a destroyed agent of that name is kept, and would come back" if done.get("revives") else ""
    return f"{done.get('approval')} waits for the operator{with_commit}{kept}"
