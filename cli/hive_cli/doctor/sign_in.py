"""Whether each agent that runs Claude Code has something to sign in with."""

from collections.abc import Iterator

from hive_cli.doctor.site import Site
from hive_cli.stack import engine
from hive_runtime.agent_settings import MODEL_KEY
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.store import read_only

WHAT = "sign-in"


def look(site: Site) -> Iterator[Finding]:
    chosen = engine.choose(None, site.data, site.environ).engine
    users = [name for name, own in _agents(site) if (own or chosen) == "claude"]
    if not users:
        yield Finding(EVERYTHING, WHAT, State.OK, "no agent runs Claude Code yet")
        return
    waiting = [name for name in users if not _is_signed_in(site, name)]
    for name in waiting:
        text = f"{name} has neither a key nor a login, and begins no turn"
        yield Finding(EVERYTHING, WHAT, State.NOTE, text, f"hive login {name}")
    if not waiting:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{', '.join(users)}")


def _agents(site: Site) -> list[tuple[str, str | None]]:
    """Name and own engine of those that are to run."""
    with read_only(site.data.root / "supervisor.sqlite") as db:
        query = "SELECT name, engine FROM agents WHERE desired = 'running' ORDER BY number"
        return [(row["name"], row["engine"]) for row in db.execute(query)] if db else []


def _is_signed_in(site: Site, name: str) -> bool:
    keys = (site.data.secrets / MODEL_KEY, site.data.secrets / f"{MODEL_KEY}-{name}")
    given = any(site.environ.get(key) for key in engine.KEYS)
    return given or any(path.is_file() for path in keys) or site.data.claude_credentials(name).is_file()
