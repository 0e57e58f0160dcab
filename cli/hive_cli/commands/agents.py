"""`hive agents`, `spawn`, `start`, `stop`, `restart`, `model`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.output import print_json, print_table, printable, say, when, why
from hive_cli.progress import shown, until_done
from hive_contracts.models import Effort, RestartPolicy
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
    detail = why(agent["state"]) if running else agent["detail"]
    if behind := agent.get("needs_update"):
        detail = "; ".join(filter(None, (detail, f"needs update: {behind}")))
    return (agent["name"], state, when(since), str(agent["unread"]), agent["engine"], detail)


@command("spawn", example="hive spawn ada\nhive spawn lin --engine scripted --description 'Keeps the garden'")
@agent_argument("name")
@click.option("--engine", type=click.Choice(["claude", "scripted"]), help="Instead of the hive's own choice.")
@click.option("--description", default="", help="What the agent is for.")
@click.option("--model", help="The model that it runs; unless given, the hive's.")
@click.option("--effort", type=click.Choice([*Effort]), help="How much the model is to think.")
@click.option("--allow", multiple=True, metavar="PATTERN", help="A shell command that needs no asking, as 'git *'.")
@click.option("--policy", type=click.Choice(["ask", "deny", "allow"]), help="What happens with all others.")
@click.option(
    "--restart", "restarts", type=click.Choice([*RestartPolicy]), help="What follows a crash [default: manager]."
)
@click.option("--recipients", metavar="NAMES", help="Whom it may write to beside you and the manager [default: all].")
@json_option
def spawn(  # noqa: PLR0913 - its options
    name: str,
    *,
    engine: str | None,
    description: str,
    model: str | None,
    effort: str | None,
    allow: tuple[str, ...],
    policy: str | None,
    restarts: str | None,
    recipients: str | None,
    as_json: bool,
) -> None:
    """Make an agent called NAME and start it.

    NAME has 1 to 31 lower-case letters, digits and '-', and starts with a letter. A destroyed agent of that name is
    revived with the state that was kept. NAMES are separated by commas.
    """
    body: dict[str, Any] = {"name": check_agent_name(name)}
    if description:
        body["description"] = description
    if engine:
        body["engine"] = engine
    if config := _config({"model": model, "effort": effort, "restart": restarts}, allow, policy, recipients):
        body["config"] = config
    client = hive_client()
    with shown(client, name, quiet=as_json):
        view = until_done(client, client.post("/api/v1/agents", body).data)
    _report(view, f"{name} is made and runs. Write to it: hive send {name} 'Hello'", as_json=as_json)


def _config(
    chosen: dict[str, str | None], allow: tuple[str, ...], policy: str | None, recipients: str | None
) -> dict[str, Any]:
    """With a policy and no pattern, no shell command is allowed without asking."""
    found: dict[str, Any] = {key: value for key, value in chosen.items() if value}
    if allow or policy:
        found["policy"] = {"bash_patterns": allow, "permission_policy": policy or "ask"}
    if recipients is not None:
        found["recipients"] = [check_agent_name(other.strip()) for other in recipients.split(",") if other.strip()]
    return found


@command("model", example="hive model ada\nhive model ada sonnet\nhive model ada --clear")
@agent_argument("name")
@click.argument("model", required=False)
@click.option("--clear", is_flag=True, help="Go back to the agent's own model.")
@json_option
def model(name: str, *, model: str | None, clear: bool, as_json: bool) -> None:
    """Show the model of the agent NAME, or override it with MODEL from its next turn on."""
    address = f"/api/v1/agents/{quote(check_agent_name(name))}"
    if model and clear:
        raise click.UsageError("give either a model or --clear")
    if not model and not clear:
        _report(found := hive_client().get(address), _model_of(found), as_json=as_json)
        return
    view = hive_client().post(f"{address}/model", {"model": model}).data
    done = f"{name} uses {view['model']['name']} from its next turn on."
    _report(view, done, as_json=as_json)


def _model_of(view: dict[str, Any]) -> str:
    found = (view.get("state") or {}).get("model") or {}
    active = found.get("active") or view["model"]["name"]
    queued = f", then {found['queued']}" if found.get("queued") else ""
    switched = f", switched {when(found['last_switched'])}" if found.get("last_switched") else ""
    return f"{printable(active)}{printable(queued)} ({view['model']['source']}{switched})"


@command("start", example="hive start ada")
@agent_argument("name")
@json_option
def start(name: str, *, as_json: bool) -> None:
    """Start the agent NAME."""
    _change(name, "start", "runs", as_json=as_json)


@command("stop", example="hive stop ada")
@agent_argument("name")
@json_option
def stop(name: str, *, as_json: bool) -> None:
    """Stop the agent NAME; its state and its messages are kept."""
    _change(name, "stop", "is stopped", as_json=as_json)


@command("restart", example="hive restart ada")
@agent_argument("name")
@json_option
def restart(name: str, *, as_json: bool) -> None:
    """Stop the agent NAME and start it again."""
    _change(name, "restart", "runs again", as_json=as_json)


def _change(name: str, verb: str, done: str, *, as_json: bool) -> None:
    check_agent_name(name)
    client = hive_client()
    with shown(client, name, quiet=as_json):
        view = until_done(client, client.post(f"/api/v1/agents/{quote(name)}/{verb}").data)
    _report(view, f"{name} {done}.", as_json=as_json)


def _report(view: Any, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        say(sentence)
