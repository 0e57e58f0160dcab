"""`hive retention`."""

from typing import Any

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import dim, print_json, print_table, say, size, when

PATH = "/api/v1/retention"


@command("retention", example="hive retention --dry-run\nhive retention\nhive retention --last --json")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--last", is_flag=True, help="Show what the last sweep removed; none is made.")
@json_option
def retention(*, dry_run: bool, last: bool, as_json: bool) -> None:
    """Remove what is old and done from stores and streams now, as happens every hour.

    What is not done is never removed. How long what is kept: docs/settings.md, [supervisor].
    """
    if dry_run and last:
        raise UsageProblem("--dry-run and --last exclude each other; give one of them")
    client = hive_client()
    found = client.get(PATH) if last else client.post(PATH, {"dry_run": dry_run}).data
    if as_json:
        print_json(found)
    elif found["report"] is None:
        say("This hive has not been swept yet; the first sweep comes soon after its start.")
    else:
        _print(found["report"])


def _print(report: dict[str, Any]) -> None:
    swept = [item for item in (*report["stores"], *report["streams"]) if item["removed"] or item["error"]]
    goes = "WOULD GO" if report["dry_run"] else "GONE"
    if swept:
        print_table(("WHAT", goes, "STAYS", "SPACE", "ERROR"), [_row(item) for item in swept])
    looked_at = f"{_count(report['stores'], 'store')} and {_count(report['streams'], 'stream')}"
    verb = "would go" if report["dry_run"] else "went"
    total = f"{report['removed']} rows and entries {verb}, {size(report['bytes_freed'])}"
    details = f"{looked_at} looked at, {when(report['at'])}, {report['seconds']:.1f} s"
    say(f"{total}; {dim(details)}")
    if report["errors"]:
        say(f"{report['errors']} could not be swept to the end; the next sweep tries again.")


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    return item["name"], str(item["removed"]), str(item["kept"]), size(item["bytes_freed"]), item["error"]
