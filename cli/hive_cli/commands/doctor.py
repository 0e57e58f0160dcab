"""`hive doctor`."""

import os
from typing import Any

import click

from hive_cli.command import command, data_dir, json_option
from hive_cli.errors import DONE, FAILED
from hive_cli.output import bold, dim, print_json, print_table, say
from hive_cli.stack.health import own_findings
from hive_cli.stack.tool import run_tool

TOOL = "hive_supervisor.doctor"


@command("doctor", example="hive doctor\nhive doctor --runtime nspawn\nhive doctor --json")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "nixos", "nspawn", "docker", "process"]),
    help="The one that must be able to run [default: as set].",
)
@json_option
def doctor(*, runtime: str | None, as_json: bool) -> int:
    """Check what this machine has and lacks for running a hive, and say how to get what it lacks.

    It changes nothing, and needs no running hive. Exit code 0 when a hive can run here with the wanted runtime, else 1.
    """
    data = data_dir()
    words = ["--runtime", runtime] if runtime else []
    found: dict[str, Any] = run_tool(TOOL, data, words, quiet=True)
    own = own_findings(data, os.environ)
    fatal = [one for one in own if one["state"] == "lacks"]
    found = {**found, "findings": [*own, *found["findings"]], "ok": bool(found["runtime"]) and not fatal}
    if as_json:
        print_json(found)
    else:
        print_table(("FOR", "WHAT", "STATE", "FOUND"), [_row(one) for one in found["findings"]])
        _conclude(found)
    return DONE if found["ok"] else FAILED


def _row(one: dict[str, str]) -> tuple[str, ...]:
    return one["part"], one["what"], one["state"], one["text"]


def _conclude(found: dict[str, Any]) -> None:
    fixes = [one for one in found["findings"] if one["fix"]]
    if fixes:
        say()
        print_table(("FOR", "WHAT", "TO DO"), [(one["part"], one["what"], one["fix"]) for one in fixes])
    say()
    if found["runtime"]:
        say(f"Agents run in {bold(found['runtime'])} {dim('(' + found['wanted'] + ' was asked for)')}")
    else:
        say(f"Agents cannot run: the runtime {found['wanted']} was asked for, and lacks what is said above.")
