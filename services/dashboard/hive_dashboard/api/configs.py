"""`/api/v1/agents/<name>/config`: the `agent.toml` that runs, the operator's own changes to it, and the way back."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from hive_contracts.agent_file import MAX_FILE_BYTES
from hive_contracts.approvals import MAX_DESCRIPTION, EditConfig, ReadConfig, RollBackConfig
from hive_contracts.names import check_agent_name
from hive_dashboard.parts import PartsOf
from hive_dashboard.reports import answered

router = APIRouter(prefix="/agents/{name}", tags=["configurations"])


class Deployed(BaseModel):
    """`approval` can be rolled back to. `subject` is of who wrote the commit."""

    approval: str
    commit: str
    at: str
    subject: str


class ConfigView(BaseModel):
    """`main` is the commit that runs, or a draft's; `text` its `agent.toml`; `files` the paths of its other files."""

    main: str
    text: str
    files: list[str]
    deployed: list[Deployed]


class NewConfig(BaseModel):
    """`before` is the `main` that was looked at: on another one it is refused."""

    before: str = Field(pattern=r"^[0-9a-f]{40}$")
    text: str = Field(max_length=MAX_FILE_BYTES)
    description: str = Field(default="", max_length=MAX_DESCRIPTION)


class RollBack(BaseModel):
    """`approval`: whose deployment; empty for the one before what runs."""

    approval: str = Field(default="", max_length=64)


@router.get("/config")
async def config(parts: PartsOf, name: str) -> ConfigView:
    """The `agent.toml` that runs, or a draft's, and what can be rolled back to."""
    return answered(ConfigView, await parts.commands.command(ReadConfig(name=check_agent_name(name))))


@router.put("/config")
async def edit(parts: PartsOf, name: str, new: NewConfig) -> dict[str, Any]:
    """Change its `agent.toml`; answers with the `approval` for it; of a draft with the `commit`."""
    wish = EditConfig(name=check_agent_name(name), before=new.before, text=new.text, description=new.description)
    return await parts.commands.command(wish)


@router.post("/rollback")
async def roll_back(parts: PartsOf, name: str, to: RollBack) -> dict[str, Any]:
    """Go back to an earlier deployment; answers with the `approval` that stands for it, once it is on its way."""
    return await parts.commands.command(RollBackConfig(name=check_agent_name(name), approval=to.approval))
