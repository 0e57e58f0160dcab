"""The manager's MCP tools for configurations: a clone to work in, and a commit of it for the operator to approve."""

import base64
import json
import re
from typing import Any, Final

from pydantic import Field

from hive_contracts.approvals import MAX_DESCRIPTION, FetchConfig, RequestApply
from hive_contracts.errors import InvalidRequest
from hive_harness.clone import Clones
from hive_harness.manager import Wishes
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
        if not _SHA.match(commit):
            raise InvalidRequest(f"{commit[:60]!r} is not a sha; a branch or a tag can move")
        bundle = base64.b64encode(await self._clones.pack(agent, commit)).decode()
        wish = RequestApply(name=agent, commit=commit, bundle=bundle, description=arguments.description)
        return await self._wishes.act(
            wish,
            lambda done: f"{done.get('approval')} waits for the operator, with commit {done.get('commit')}",
            about=arguments.model_dump_json(),
        )
