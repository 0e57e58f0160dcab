"""`hive alerts`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import print_json, print_table, say, when


@command("alerts", example="hive alerts\nhive alerts --json\nhive alerts dismiss flood-ada")
@click.argument("verb", type=click.Choice(["dismiss"]), required=False)
@click.argument("alert_id", metavar="[ID]", required=False)
@json_option
def alerts(verb: str | None, alert_id: str | None, *, as_json: bool) -> None:
    """List floods, stopped conversations and refused sends, the oldest first, or dismiss the alert ID.

    What was dismissed is listed again when it happens again. `hive trace` shows a conversation that was stopped: give
    it what follows `loop-` in the ID.
    """
    client = hive_client()
    if verb is None:
        _list(client.get("/api/v1/alerts"), as_json=as_json)
        return
    if not alert_id:
        raise UsageProblem("say which alert: hive alerts dismiss ID")
    dismissed = client.post(f"/api/v1/alerts/{quote(alert_id, safe='')}/dismiss").data
    if as_json:
        print_json(dismissed)
    else:
        say(f"{alert_id} is dismissed; if it happens again it is listed again.")


def _list(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif found["alerts"]:
        headers = ("SINCE", "LAST", "TIMES", "WHAT", "AGENT", "TO", "ID", "REASON")
        print_table(headers, [_row(alert) for alert in found["alerts"]])
    else:
        say("There are no alerts.")


def _row(alert: dict[str, Any]) -> tuple[str, ...]:
    since, last, kind = when(alert["since"]), when(alert["last"]), alert["kind"]
    what = f"{kind}, over" if alert["over"] else kind
    return since, last, str(alert["count"]), what, alert["agent"], alert["peer"], alert["key"], alert["reason"]
