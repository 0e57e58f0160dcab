"""`hive rebuild`."""

import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import click

from hive_cli.client import HiveClient
from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import print_json, say
from hive_cli.progress import shown, until_done
from hive_contracts.names import check_agent_name

POLL_S: Final = 0.5
BUSY: Final = frozenset({"thinking", "compacting"})


@command("rebuild", example="hive rebuild ada\nhive rebuild --all\nhive rebuild --all --turn-wait 0")
@agent_argument("name", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every agent that needs it, one after the other.")
@click.option(
    "--turn-wait",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    help="With --all: seconds that turns have to end before they are cut off.",
)
@json_option
def rebuild(name: str | None, *, everyone: bool, turn_wait: float, as_json: bool) -> None:
    """Bring the container of NAME up to date: the newest image, hyperhive and configuration.

    It is restarted if it is behind; nothing is done if it is not. Messages that it is at work on are taken up again.
    """
    if everyone == bool(name):
        raise UsageProblem("give either NAME or --all")
    client = hive_client()
    names = [agent["name"] for agent in _behind(client)] if everyone else [check_agent_name(name or "")]
    done = _all(client, names, turn_wait, quiet=as_json) if everyone else [_rebuild(client, names[0], quiet=as_json)]
    if as_json:
        print_json({"agents": done})
    elif not everyone:
        say(f"{names[0]} is up to date.")
    else:
        say("All agents are up to date." if done else "All agents were up to date.")


def _behind(client: HiveClient) -> list[dict[str, Any]]:
    return [agent for agent in client.get("/api/v1/agents")["agents"] if agent["needs_update"]]


def _rebuild(client: HiveClient, name: str, *, quiet: bool) -> Any:
    with shown(client, name, quiet=quiet):
        return until_done(client, client.post(f"/api/v1/agents/{quote(name)}/rebuild").data)


def _all(client: HiveClient, names: Sequence[str], turn_wait_s: float, *, quiet: bool) -> list[Any]:
    """One at a time, those first that are in no turn; after `turn_wait_s` the others too. The first failure ends it."""
    end = time.monotonic() + turn_wait_s
    waiting, done = list(names), []
    while waiting:
        late = time.monotonic() >= end
        views = {agent["name"]: agent for agent in client.get("/api/v1/agents")["agents"]}
        waiting = [name for name in waiting if name in views]
        ready = next((name for name in waiting if late or not _in_turn(views[name])), None)
        if ready is None:
            time.sleep(POLL_S)
            continue
        waiting.remove(ready)
        if not quiet:
            say(f"{ready}: {views[ready]['needs_update'] or 'up to date'}; {len(waiting)} to go")
        done.append(_rebuild(client, ready, quiet=quiet))
    return done


def _in_turn(agent: dict[str, Any]) -> bool:
    return (agent.get("state") or {}).get("state") in BUSY
