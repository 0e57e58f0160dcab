"""`hive token`, `hive audit`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import HiveGroup, command, hive_client, json_option
from hive_cli.output import complain, print_json, print_more, print_table, say, when


@click.group(
    "token",
    cls=HiveGroup,
    epilog="\b\nExample:\n  $ hive token create phone --days 90\n  $ hive token revoke t-0123456789",
)
def token() -> None:
    """Make, list and revoke tokens for the HTTP API and for signing a browser in."""


@command("create", example="hive token create phone --days 90")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), help="It runs out after so many days; without it, never.")
@json_option
def create(name: str, *, days: int | None, as_json: bool) -> None:
    """Make a token called NAME. Its secret is printed this once; only its hash is kept.

    A token may do all that you may. It goes into the header 'Authorization: Bearer', or into the sign-in page.
    """
    made = hive_client().post("/api/v1/tokens", {"name": name, "days": days}).data
    if as_json:
        print_json(made)
        return
    say(made["secret"])
    until = f", until {when(made['token']['expires_at'])}" if made["token"]["expires_at"] else ""
    complain(f"this is {made['token']['id']}{until}; copy it now, it is shown this once")


@command("list", example="hive token list --json")
@json_option
def list_(*, as_json: bool) -> None:
    """Show the tokens, revoked ones too, newest first."""
    found = hive_client().get("/api/v1/tokens", limit=500)
    if as_json:
        print_json(found)
    elif found["tokens"]:
        print_table(("ID", "NAME", "MADE", "USED", "STATE"), [_row(one) for one in found["tokens"]])
    else:
        say("There are no tokens. Make one: hive token create NAME")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    used = when(one["used_at"]) if one["used_at"] else "never"
    if one["revoked_at"]:
        state = "revoked"
    elif not one["valid"]:
        state = "has run out"
    else:
        state = f"until {when(one['expires_at'])}" if one["expires_at"] else "valid"
    return one["id"], one["name"], when(one["created_at"]), used, state


@command("revoke", example="hive token revoke t-0123456789")
@click.argument("token_id", metavar="ID")
@json_option
def revoke(token_id: str, *, as_json: bool) -> None:
    """Revoke the token ID: it lets nobody in any more, and whoever signed in with it is signed out."""
    found = hive_client().call("DELETE", f"/api/v1/tokens/{quote(token_id, safe='')}")
    if as_json:
        print_json(found)
    else:
        say(f"{token_id} revoked")


token.add_command(create)
token.add_command(list_)
token.add_command(revoke)


@command("audit", example="hive audit\nhive audit --who t-0123456789 --json")
@click.option("--who", help="Only what this token or session did, or 'local': the command line on this machine.")
@click.option("--target", help="Only what was done to this, such as an agent.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@json_option
def audit(*, who: str | None, target: str | None, limit: int, as_json: bool) -> None:
    """Show what was done, by whom, and what came of it, newest first."""
    found = hive_client().get("/api/v1/audit", who=who, target=target, limit=limit)
    if as_json:
        print_json(found)
    elif found["actions"]:
        print_table(("TIME", "WHO", "WHAT", "TARGET", "OUTCOME", "DETAIL"), [_action(one) for one in found["actions"]])
        print_more(found)
    else:
        say("Nothing was done.")


def _action(one: dict[str, Any]) -> tuple[str, ...]:
    outcome = f"{one['outcome']}: {one['reason']}" if one["reason"] else one["outcome"]
    detail = ", ".join(f"{fact['label']}: {fact['value']}" if fact["label"] else fact["value"] for fact in one["facts"])
    return when(one["time"]), one["who"], one["action"], one["target"], outcome, detail
