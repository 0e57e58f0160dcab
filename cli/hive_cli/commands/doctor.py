"""`hive doctor`."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from hive_cli.command import command, data_dir, json_option
from hive_cli.errors import DONE, FAILED
from hive_cli.output import bold, counted, dim, print_json, print_table, say
from hive_cli.paths import DataDir
from hive_cli.stack.tool import run_tool
from hive_contracts.errors import NotFound
from hive_runtime.checkup import Finding, examine

TOOL = "hive_supervisor.doctor"
_SHOWN = ("part", "what", "state", "text", "fix", "mendable", "check")


@command(
    "doctor", example="hive doctor\nhive doctor redis stores\nhive doctor --fix\nhive doctor --runtime nspawn --json"
)
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "nixos", "nspawn", "docker", "process"]),
    help="The one that must be able to run [default: as set].",
)
@click.option("--fix", is_flag=True, help="Mend what can be mended without harm to a hive in use.")
@click.option("--list", "listed", is_flag=True, help="Name the checks; nothing is looked at.")
@json_option
def doctor(*, checks: tuple[str, ...], runtime: str | None, fix: bool, listed: bool, as_json: bool) -> int:
    """Check what this machine and this hive have and lack, why, and what to do about it: all, or each CHECK named.

    It needs no running hive, and changes nothing without --fix. Exit code 0 when a hive can run here with the wanted
    runtime and nothing is wrong, else 1.
    """
    if listed:
        _print_names(_names(data_dir()), as_json=as_json)
        return DONE
    found = _look(data_dir(), checks, runtime, fix=fix)
    if as_json:
        print_json(found)
    else:
        _print(found)
    return DONE if found["ok"] else FAILED


def _names(data: DataDir) -> dict[str, str]:
    from hive_cli.doctor.registry import CHECKS  # noqa: PLC0415  redis-py, which the other commands do not need

    theirs = run_tool(TOOL, data, ["--only", "none"], quiet=True)["checks"]
    return {check.name: check.about for check in CHECKS} | dict(theirs)


def _look(data: DataDir, names: Sequence[str], runtime: str | None, *, fix: bool) -> dict[str, Any]:
    from hive_cli.doctor.registry import CHECKS  # noqa: PLC0415  as above
    from hive_cli.doctor.site import Site  # noqa: PLC0415

    site = Site(data, os.environ)
    words = [*(["--runtime", runtime] if runtime else []), *(["--fix"] if fix else [])]
    words += [] if site.runs else ["--idle"]
    for name in names:
        words += ["--only", name]
    theirs: dict[str, Any] = run_tool(TOOL, data, words, quiet=True)
    own = examine(CHECKS, site, fix=fix, only=names or None)
    known = {check.name for check in CHECKS} | theirs["checks"].keys()
    if unknown := [name for name in names if name not in known]:
        raise NotFound(f"there is no check {unknown[0]!r}; there are {', '.join(sorted(known))}")
    found = [*own.findings, *(Finding(**{key: one[key] for key in _SHOWN}) for one in theirs["findings"])]
    if not runtime and theirs["runtime"]:
        theirs["runtime"] = site.info.get("runtime") or theirs["runtime"]
    able = bool(theirs["runtime"]) or bool(names and "runtimes" not in names)
    return {
        "wanted": theirs["wanted"],
        "runtime": theirs["runtime"],
        "findings": [asdict(one) for one in found],
        "mended": [*own.mended, *theirs["mended"]],
        "ok": able and not any(one.is_fatal for one in found),
    }


def _print_names(names: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"checks": names})
    else:
        print_table(("CHECK", "LOOKS AT"), list(names.items()), wrap=True)


def _print(found: dict[str, Any]) -> None:
    for sentence in found["mended"]:
        say(f"mended {sentence}")
    print_table(("FOR", "WHAT", "STATE", "FOUND"), [_row(one) for one in found["findings"]], wrap=True)
    _conclude(found)


def _row(one: dict[str, str]) -> tuple[str, ...]:
    return one["part"], one["what"], one["state"], one["text"]


def _conclude(found: dict[str, Any]) -> None:
    fixes = [one for one in found["findings"] if one["fix"]]
    if fixes:
        say()
        print_table(("FOR", "WHAT", "TO DO"), [(one["part"], one["what"], one["fix"]) for one in fixes], wrap=True)
    say()
    if found["runtime"]:
        say(f"Agents run in {bold(found['runtime'])} {dim('(' + found['wanted'] + ' was asked for)')}")
    elif any(one["check"] == "runtimes" for one in found["findings"]):
        say(f"Agents cannot run: the runtime {found['wanted']} was asked for, and lacks what is said above.")
    wrong = sum(one["state"] == "wrong" for one in found["findings"])
    if not wrong and not found["ok"]:
        say("Nothing is wrong, but a hive cannot start here yet: see what it lacks above.")
    else:
        say("Nothing is wrong." if not wrong else f"{counted(wrong, 'thing is', 'things are')} wrong.")
