"""`hive approvals`, `approval`, `approve`, `deny`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import coloured, dim, print_json, print_more, print_table, printable, say, when


@command("approvals", example="hive approvals\nhive approvals --all --json")
@click.option("--all", "everything", is_flag=True, help="Decided ones too, newest first.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@json_option
def approvals(*, everything: bool, limit: int, as_json: bool) -> None:
    """Show the requests that wait for your decision."""
    found = hive_client().get("/api/v1/approvals", waiting=None if everything else "true", limit=limit)
    if as_json:
        print_json(found)
    elif found["approvals"]:
        headers = ("TIME", "WHAT", "AGENT", "BY", "STATE", "ID", "DESCRIPTION")
        print_table(headers, [_row(approval) for approval in found["approvals"]])
        print_more(found)
        say(f"Look at one: hive approval {found['approvals'][0]['id']}")
    else:
        say("Nothing was asked for yet." if everything else "Nothing waits for you. Older ones: hive approvals --all")


def _row(approval: dict[str, Any]) -> tuple[str, ...]:
    what = approval["kind"].replace("_", " ")
    names = approval["agent"], approval["requester"], approval["state"], approval["id"]
    return when(approval["requested_at"]), what, *names, approval["description"]


@command("approval", example="hive approval a-0123456789abcdef")
@click.argument("approval_id", metavar="ID")
@json_option
def approval(approval_id: str, *, as_json: bool) -> None:
    """Show what the approval ID would change, and what became of it."""
    found = hive_client().get(_path(approval_id))
    if as_json:
        print_json(found)
        return
    about = found["approval"]
    say(f"{coloured(about['id'])}  {about['state']}  {dim(when(about['requested_at']))}")
    say(f"{printable(about['requester'])} asks for {_wanted(about)}: {printable(about['description'])}")
    if about["commit"]:
        say(f"commit {about['commit']}, on {about['base'] or 'nothing'}")
    for name in ("note", "error"):
        if about[name]:
            say(f"{name}: {printable(about[name])}")
    say(printable(found["diff"]))


def _wanted(about: dict[str, Any]) -> str:
    agent = printable(about["agent"])
    match about["kind"]:
        case "spawn" | "spawn_commit":
            return f"{agent} to come back, with what is kept of it" if about["revives"] else f"a new agent {agent}"
        case "permission_pattern":
            return f"{agent} to run {printable(about['pattern'])} without asking"
        case "purge":
            return f"the end of {agent}, with all that it has"
        case _:
            return f"another configuration of {agent}"


def _decide(approval_id: str, decision: str, commit: str | None, *, note: str, as_json: bool) -> None:
    client = hive_client()
    commit = commit or client.get(_path(approval_id))["approval"]["commit"]
    client.post(f"{_path(approval_id)}/decision", {"decision": decision, "commit": commit, "note": note})
    found = client.get(_path(approval_id))["approval"]
    if as_json:
        print_json(found)
    else:
        say(f"{approval_id} is {found['state'].replace('_', ' ')}")


_COMMIT = click.option("--commit", help="The whole sha that you looked at; without it, the one that it is about.")


@command("approve", example="hive approve a-0123456789abcdef")
@click.argument("approval_id", metavar="ID")
@_COMMIT
@click.option("--note", default="", help="For who asked.")
@json_option
def approve(approval_id: str, *, commit: str | None, note: str, as_json: bool) -> None:
    """Approve the commit of ID: it is deployed, and what runs now is brought back if it does not come up."""
    _decide(approval_id, "approve", commit, note=note, as_json=as_json)


@command("deny", example="hive deny a-0123456789abcdef --note 'not now'")
@click.argument("approval_id", metavar="ID")
@_COMMIT
@click.option("--note", default="", help="For who asked.")
@click.option("--changes", is_flag=True, help="Ask for changes instead: NOTE says which.")
@json_option
def deny(approval_id: str, *, commit: str | None, note: str, changes: bool, as_json: bool) -> None:
    """Deny the commit of ID; who asked is told so, with the note."""
    _decide(approval_id, "request_changes" if changes else "deny", commit, note=note, as_json=as_json)


def _path(approval_id: str) -> str:
    return f"/api/v1/approvals/{quote(approval_id, safe='')}"
