"""Whether each agent that runs Claude Code has something to sign in with."""

from collections.abc import Iterator
from typing import Final

from hive_cli.client import find_hive
from hive_cli.doctor.site import ASK_S, Site
from hive_cli.stack import engine
from hive_contracts.errors import HiveError
from hive_runtime.agent_settings import MODEL_KEY
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.store import read_only

WHAT: Final = "sign-in"


def look(site: Site) -> Iterator[Finding]:
    users = _users(site)
    if not users:
        yield Finding(EVERYTHING, WHAT, State.OK, "no agent runs Claude Code yet")
        return
    waiting = [name for name in users if not _is_signed_in(site, name)]
    for name in waiting:
        text = f"{name} has neither a key nor a login, and begins no turn"
        yield Finding(EVERYTHING, WHAT, State.NOTE, text, f"hive login {name}")
    if not waiting:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{', '.join(users)}")


def _users(site: Site) -> list[str]:
    """Who runs Claude Code: as the hive that runs says, else as the next `hive up` would have it."""
    try:
        agents = find_hive(site.data).patient(ASK_S).get("/api/v1/agents")["agents"] if site.runs else []
    except HiveError:
        agents = []
    if agents:
        return [agent["name"] for agent in agents if agent["engine"] == "claude" and agent["desired"] == "running"]
    chosen = engine.choose(None, site.data, site.environ).engine
    with read_only(site.data.root / "supervisor.sqlite") as db:
        query = "SELECT name, engine FROM agents WHERE desired = 'running' ORDER BY number"
        rows = db.execute(query).fetchall() if db else []
    return [row["name"] for row in rows if (row["engine"] or chosen) == "claude"]


def _is_signed_in(site: Site, name: str) -> bool:
    keys = (site.data.secrets / MODEL_KEY, site.data.secrets / f"{MODEL_KEY}-{name}")
    given = any(site.environ.get(key) for key in engine.KEYS)
    return given or any(path.is_file() for path in keys) or site.data.claude_credentials(name).is_file()
