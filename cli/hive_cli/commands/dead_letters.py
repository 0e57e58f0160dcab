"""`hive dead-letters`, `redrive`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import print_json, print_more, print_table, say, when


@command("dead-letters", example="hive dead-letters\nhive dead-letters --json")
@click.option("--limit", type=click.IntRange(1, 500), default=200, show_default=True, help="At most so many.")
@json_option
def dead_letters(*, limit: int, as_json: bool) -> None:
    """List the messages that were given up, newest first, and why."""
    found = hive_client().get("/api/v1/dead-letters", limit=limit)
    if as_json:
        print_json(found)
    elif not found["dead_letters"]:
        say("There are no dead letters.")
    else:
        headers = ("SENT", "FROM", "TO", "STATE", "ID", "REASON", "BODY")
        print_table(headers, [_row(letter["message"], letter["reason"]) for letter in found["dead_letters"]])
        print_more(found)


def _row(message: dict[str, Any], reason: str) -> tuple[str, ...]:
    sent, state = when(message["sent_at"]), message["state"]
    return sent, message["sender"], message["recipient"], state, message["id"], reason, message["body"]


@command("redrive", example="hive redrive m-0123456789abcdef")
@click.argument("message_id", metavar="ID")
@json_option
def redrive(message_id: str, *, as_json: bool) -> None:
    """Put the dead letter ID back into its recipient's inbox, under the same id."""
    done = hive_client().post(f"/api/v1/dead-letters/{quote(message_id, safe='')}/redrive").data
    if as_json:
        print_json(done)
    else:
        say(f"{message_id} is delivered again. Follow it: hive trace {message_id}")
