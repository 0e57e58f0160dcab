"""`hive agents`, `spawn`, `start`, `stop`, `restart`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import print_json, print_table, say, when
from hive_contracts.names import check_agent_name


@command("agents", example="hive agents\nhive agents --json")
@json_option
def agents(*, as_json: bool) -> None:
    """List the agents with their state and unread messages."""
    found = hive_client().get("/api/v1/agents")
    if as_json:
        print_json(found)
    elif not found["agents"]:
        say("There are no agents yet. Make one with: hive spawn NAME")
    else:
        print_table(
            ("NAME", "STATE", "SINCE", "UNREAD", "ENGINE", "DETAIL"), [_row(agent) for agent in found["agents"]]
        )


def _row(agent: dict[str, Any]) -> tuple[str, ...]:
    running = agent["container"] == "running" and agent.get("state")
    state = agent["state"]["state"] if running else agent["container"]
    since = agent["state"]["since"] if running else agent["container_since"]
    detail = agent["state"]["detail"] if running else agent["detail"]
    return (agent["name"], state, when(since), str(agent["unread"]), agent["engine"], detail)


@command("spawn", example="hive spawn ada\nhive spawn lin --engine scripted --description 'Keeps the garden'")
@click.argument("name")
@click.option("--engine", type=click.Choice(["claude", "scripted"]), help="Instead of the hive's own choice.")
@click.option("--description", default="", help="What the agent is for.")
@json_option
def spawn(name: str, *, engine: str | None, description: str, as_json: bool) -> None:
    """Make an agent called NAME and start it.

    NAME has 1 to 31 lower-case letters, digits and '-', and starts with a letter.
    """
    body: dict[str, str] = {"name": check_agent_name(name)}
    if description:
        body["description"] = description
    if engine:
        body["engine"] = engine
    view = hive_client().post("/api/v1/agents", body).data
    _report(view, f"{name} is made and runs. Write to it: hive send {name} 'Hello'", as_json=as_json)


@command("start", example="hive start ada")
@click.argument("name")
@json_option
def start(name: str, *, as_json: bool) -> None:
    """Start the agent NAME."""
    _change(name, "start", "runs", as_json=as_json)


@command("stop", example="hive stop ada")
@click.argument("name")
@json_option
def stop(name: str, *, as_json: bool) -> None:
    """Stop the agent NAME; its state and its messages are kept."""
    _change(name, "stop", "is stopped", as_json=as_json)


@command("restart", example="hive restart ada")
@click.argument("name")
@json_option
def restart(name: str, *, as_json: bool) -> None:
    """Stop the agent NAME and start it again."""
    _change(name, "restart", "runs again", as_json=as_json)


def _change(name: str, verb: str, done: str, *, as_json: bool) -> None:
    check_agent_name(name)
    view = hive_client().post(f"/api/v1/agents/{quote(name)}/{verb}").data
    _report(view, f"{name} {done}.", as_json=as_json)


def _report(view: Any, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        say(sentence)
