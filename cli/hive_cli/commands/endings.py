"""`hive destroy`, `kept`, `revive`: the end of an agent, what is kept of it, and its way back."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.client import HiveClient
from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.output import confirmed, print_json, print_table, say, size, when
from hive_cli.progress import shown, until_done, until_gone
from hive_contracts.errors import NotFound
from hive_contracts.names import check_agent_name


@command("destroy", example="hive destroy ada\nhive destroy ada --purge --yes")
@agent_argument("name")
@click.option("--purge", is_flag=True, help="Wipe its state, streams, events and credentials too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def destroy(name: str, *, purge: bool, yes: bool, as_json: bool) -> None:
    """Stop the agent NAME for good. Its state is kept until it is purged; `hive revive NAME` brings it back.

    One that runs is not purged: stop or destroy it first.
    """
    check_agent_name(name)
    client = hive_client()
    question = f"Destroy {name} and keep its state?"
    if purge and not yes:
        question = f"{_what_goes(client, name)}\nPurge {name}?"
    if not yes:
        confirmed(question, "destroy")
    with shown(client, name, quiet=as_json):
        answer = client.call("DELETE", f"/api/v1/agents/{quote(name)}?purge={str(purge).lower()}").data
        if purge:
            until_gone(client, name)
    done = (
        "is gone, with all that it had." if purge else f"is destroyed; its state is kept. Back with: hive revive {name}"
    )
    if as_json:
        print_json(answer)
    else:
        say(f"{name} {done}")


@command("kept", example="hive kept\nhive kept --json")
@json_option
def kept(*, as_json: bool) -> None:
    """List what is kept of destroyed agents: how much, since when, and whether it is signed in."""
    found = hive_client().get("/api/v1/kept")
    if as_json:
        print_json(found)
    elif not found["kept"]:
        say("Nothing is kept: no agent was destroyed.")
    else:
        rows = [
            (one["name"], _size(one), when(one["since"]), str(one["unread"]), "yes" if one["signed_in"] else "no")
            for one in found["kept"]
        ]
        print_table(("NAME", "SIZE", "DESTROYED", "UNREAD", "SIGNED IN"), rows)


@command("revive", example="hive revive ada")
@agent_argument("name")
@json_option
def revive(name: str, *, as_json: bool) -> None:
    """Bring the destroyed agent NAME back, with all that was kept, and start it."""
    check_agent_name(name)
    client = hive_client()
    if name not in {one["name"] for one in client.get("/api/v1/kept")["kept"]}:
        raise NotFound(f"nothing is kept of an agent called {name}; `hive kept` lists what is")
    with shown(client, name, quiet=as_json):
        view = until_done(client, client.post("/api/v1/agents", {"name": name}).data)
    if as_json:
        print_json(view)
    else:
        say(f"{name} is back, with all that was kept, and runs.")


def _what_goes(client: HiveClient, name: str) -> str:
    found = client.get(f"/api/v1/agents/{quote(name)}/kept")
    unread = found["unread"]
    letters = (
        "1 message in its inbox becomes a dead letter" if unread == 1 else f"{unread} messages become dead letters"
    )
    login = "its sign-in, " if found["signed_in"] else ""
    return (
        f"This wipes for ever, of {name}:\n"
        f"  its /state and notes ({_size(found)}), {login}its model key, its configuration\n"
        "  its history and figures, its log, its Redis user and streams, its user ids\n"
        f"  {letters}; its questions and reminders are cancelled"
    )


def _size(found: dict[str, Any]) -> str:
    return f"{'over ' if found['more'] else ''}{size(found['size'])}"
