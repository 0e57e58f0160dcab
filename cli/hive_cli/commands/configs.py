"""`hive config`, `rollback`, `drafts`."""

import time
from typing import Any, Final
from urllib.parse import quote

import click

from hive_cli.client import HiveClient
from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import confirmed, dim, print_json, print_table, printable, say, when
from hive_contracts.errors import Refused
from hive_contracts.names import check_agent_name

WAIT_S: Final = 120.0
LOOK_S: Final = 0.3
_ON_ITS_WAY: Final = ("pending", "approved")


@command("config", example="hive config ada\nhive config ada --edit\nhive config ada --file agent.toml")
@agent_argument("name")
@click.option("--edit", is_flag=True, help="Change it in your $EDITOR; what you leave is deployed at once.")
@click.option("--file", "path", type=click.File(), help="Deploy this file instead; '-' reads it from the input.")
@click.option("--description", default="", help="What you change, and why; it is kept.")
@json_option
def config(name: str, *, edit: bool, path: Any, description: str, as_json: bool) -> None:
    """Show the agent.toml that the agent NAME runs with, or deploy your own; of a draft, what it holds."""
    place = f"/api/v1/agents/{quote(check_agent_name(name))}/config"
    client = hive_client()
    found = client.get(place)
    if edit or path:
        text = path.read() if path else click.edit(found["text"], extension=".toml", require_save=False)
        if not text or text == found["text"]:
            raise UsageProblem("nothing was changed, so nothing is done")
        body = {"before": found["main"], "text": text, "description": description}
        _conclude(client, name, client.call("PUT", place, body=body).data, as_json=as_json)
    elif as_json:
        print_json(found)
    else:
        say(printable(found["text"]).rstrip())
        _tell_rest(found)


def _tell_rest(found: dict[str, Any]) -> None:
    say(dim(f"# commit {found['main'][:12]}" + "".join(f"\n# {printable(path)}" for path in found["files"])))


@command("rollback", example="hive rollback ada\nhive rollback ada a-0123456789abcdef")
@agent_argument("name")
@click.argument("approval_id", metavar="[ID]", default="")
@json_option
def rollback(name: str, *, approval_id: str, as_json: bool) -> None:
    """Deploy again what the approval ID deployed for the agent NAME; without ID, what ran before the last one.

    `hive config NAME --json` lists what was deployed.
    """
    client = hive_client()
    place = f"/api/v1/agents/{quote(check_agent_name(name))}/rollback"
    _conclude(client, name, client.post(place, {"approval": approval_id}).data, as_json=as_json)


def _conclude(client: HiveClient, name: str, answer: dict[str, Any], *, as_json: bool) -> None:
    """Wait until it is deployed, or is not."""
    if not answer.get("approval"):
        say(f"the draft of {name} is at {answer['commit'][:12]}")
        return
    approval = _end_of(client, answer["approval"])
    if as_json:
        print_json(approval)
    if approval["state"] != "deployed":
        raise Refused(f"{approval['id']} {approval['state']}: {approval['error'] or 'look at it with hive approval'}")
    if not as_json:
        say(f"{name} runs with it ({approval['id']}, commit {approval['commit'][:12]})")


def _end_of(client: HiveClient, approval_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while True:
        found: dict[str, Any] = client.get(f"/api/v1/approvals/{quote(approval_id)}")["approval"]
        if found["state"] not in _ON_ITS_WAY or time.monotonic() > deadline:
            return found
        time.sleep(LOOK_S)


@command("drafts", example="hive drafts\nhive drafts discard lin\nhive drafts take-over lin")
@click.argument("verb", type=click.Choice(["discard", "take-over"]), required=False)
@agent_argument("name", required=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def drafts(verb: str | None, name: str | None, *, yes: bool, as_json: bool) -> None:
    """List the agents that are being drafted, discard the draft NAME, or take it over.

    What you took over you change with `hive config NAME --edit` and make with `hive spawn NAME`.
    """
    client = hive_client()
    if verb is None:
        _list(client.get("/api/v1/drafts"), as_json=as_json)
        return
    if not name:
        raise UsageProblem(f"say which draft: hive drafts {verb} NAME")
    place = f"/api/v1/drafts/{quote(check_agent_name(name))}"
    if verb == "discard":
        if not yes:
            confirmed(f"Discard the draft of {name}?", "discard it")
        answer, done = client.call("DELETE", place).data, "is discarded; its name is free."
    else:
        answer, done = client.post(f"{place}/take-over").data, "is yours; change it with: hive config NAME --edit"
    if as_json:
        print_json(answer)
    else:
        say(f"The draft of {name} {done.replace('NAME', name)}")


def _list(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif found["drafts"]:
        print_table(("NAME", "BY", "SINCE", "LAST COMMIT", ""), [_row(draft) for draft in found["drafts"]])
    else:
        say("Nothing is being drafted.")


def _row(draft: dict[str, Any]) -> tuple[str, ...]:
    last = f"{draft['commit'][:12]} {draft['subject']}"
    kept = "revives what is kept" if draft["revives"] else ""
    return draft["name"], draft["author"], when(draft["created_at"]), last, kept
