"""`hive send`, `inbox`, `trace`."""

import sys
from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.errors import DONE, TIMED_OUT, UsageProblem
from hive_cli.output import bold, coloured, complain, dim, print_json, print_more, print_table, printable, say, when
from hive_contracts.ids import new_id
from hive_contracts.messages import check_body
from hive_contracts.names import BROADCAST, OPERATOR, check_agent_name


@command("send", example="hive send hm1nd 'Say hello to the others'\ngit diff | hive send ada -")
@agent_argument("to")
@click.argument("body")
@click.option("--in-reply-to", metavar="ID", help="The message that this one answers.")
@click.option("--urgent", is_flag=True, help="Interrupt what the agent does, or its nap.")
@json_option
def send(to: str, body: str, *, in_reply_to: str | None, urgent: bool, as_json: bool) -> int:
    """Send BODY to the agent TO, as the operator. A BODY of - is read from standard input.

    Done means that the broker has taken the message on; `hive trace` shows what becomes of it.
    """
    content = check_body(_read_stdin() if body == "-" else body)
    if to not in {BROADCAST, OPERATOR}:
        check_agent_name(to)
    request: dict[str, Any] = {"to": to, "body": content} | ({"in_reply_to": in_reply_to} if in_reply_to else {})
    if urgent:
        request["urgent"] = True
    reply = hive_client().post("/api/v1/messages", request, headers={"Idempotency-Key": new_id()})
    if as_json:
        print_json(reply.data)
    if reply.status == 202:
        complain(
            "not confirmed in time; the message is stored and will be delivered. Follow it: "
            f"hive trace {reply.data['id']}"
        )
        return TIMED_OUT
    if not as_json:
        note = f" ({reply.data['note']})" if reply.data.get("note") else ""
        say(f"{reply.data['id']} accepted for {to}{note}")
    return DONE


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageProblem("standard input is not UTF-8 text; send its path instead") from error


@command("inbox", example="hive inbox\nhive inbox ada --limit 5 --json")
@agent_argument("name", default=OPERATOR)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="At most so many.")
@json_option
def inbox(name: str, *, limit: int, as_json: bool) -> None:
    """Show the inbox of the agent NAME (without NAME: your own), newest first."""
    if name != OPERATOR:
        check_agent_name(name)
    found = hive_client().get(f"/api/v1/agents/{quote(name)}/inbox", limit=limit)
    if as_json:
        print_json(found)
    elif not found["messages"]:
        mine = name == OPERATOR
        whose, to = ("Your inbox", "hm1nd") if mine else (f"The inbox of {name}", name)
        say(f"{whose} is empty. Write to somebody: hive send {to} 'Hello'")
    else:
        print_table(("TIME", "FROM", "STATE", "ID", "BODY"), [_row(message) for message in found["messages"]])
        print_more(found)


def _row(message: dict[str, Any]) -> tuple[str, ...]:
    return when(message["sent_at"]), message["sender"], message["state"], message["id"], message["body"]


@command("trace", example="hive trace m-0123456789abcdef")
@click.argument("message_id", metavar="ID")
@json_option
def trace(message_id: str, *, as_json: bool) -> None:
    """Show the life of the message ID, and the conversation that it belongs to."""
    found = hive_client().get(f"/api/v1/messages/{quote(message_id, safe='')}")
    if as_json:
        print_json(found)
        return
    _print_message(found["message"])
    others = [message for message in found["conversation"] if message["id"] != message_id]
    if others:
        say(f"\n{bold('The conversation')}")
        print_table(("TIME", "FROM", "TO", "STATE", "ID", "BODY"), [_other(message) for message in others])


def _print_message(message: dict[str, Any]) -> None:
    say(f"{bold(message['id'])}  {message['sender']} → {message['recipient']}  {coloured(message['state'])}")
    say("\n".join(f"  {line}" for line in printable(message["body"]).splitlines()))
    for step in message.get("steps", []):
        say(f"  {dim(when(step['at']))}  {coloured(step['state'])}  {dim(printable(step.get('detail', '')))}".rstrip())


def _other(message: dict[str, Any]) -> tuple[str, ...]:
    sender, *rest = _row(message)[1:]
    return when(message["sent_at"]), sender, message["recipient"], *rest
