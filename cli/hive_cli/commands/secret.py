"""`hive secret`."""

import os
import sys
from pathlib import Path

import click

from hive_cli.command import command, data_dir, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import print_json, print_table, say
from hive_contracts.errors import NotFound
from hive_contracts.models import AgentConfig
from hive_contracts.names import check_agent_name
from hive_runtime.agent_settings import secret_file

_PREFIX = secret_file("")


@command(
    "secret", example="hive secret set GITHUB_TOKEN < token\nhive secret set GITHUB_TOKEN --agent ada\nhive secret list"
)
@click.argument("verb", type=click.Choice(["set", "remove", "list"]))
@click.argument("variable", required=False)
@click.option("--agent", default="", help="For this agent alone; else for all whose agent.toml names it.")
@json_option
def secret(verb: str, variable: str | None, *, agent: str, as_json: bool) -> None:
    """Set, remove or list the secrets that an agent.toml may name in `secrets`; a value is never shown.

    The value is read from the input, or asked for. An agent gets it at its next start, as a variable of its engine.
    """
    folder = data_dir().secrets
    if verb == "list":
        _list(folder, as_json=as_json)
        return
    if not variable:
        raise UsageProblem(f"say which: hive secret {verb} VARIABLE")
    _check(variable)
    path = folder / secret_file(variable, check_agent_name(agent) if agent else "")
    if verb == "set":
        _write(path, _value(variable))
    elif path.is_file():
        path.unlink()
    else:
        raise NotFound(f"{variable} is not set" + (f" for {agent}" if agent else ""))
    say(f"{variable} is {'set' if verb == 'set' else 'removed'}; agents that name it find that at their next start.")


def _check(variable: str) -> None:
    try:
        AgentConfig(secrets=(variable,))
    except ValueError as error:
        raise UsageProblem(
            f"{variable[:60]!r} cannot be a secret's variable: it is the hive's own, or no name"
        ) from error


def _value(variable: str) -> str:
    asked = click.prompt(variable, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    value = str(asked).removesuffix("\n")
    if not value or "\n" in value or "\0" in value:
        raise UsageProblem("a secret is one line of text; nothing was changed")
    return value


def _write(path: Path, value: str) -> None:
    """Whole or not at all, for this user alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(value)
    partial.replace(path)


def _list(folder: Path, *, as_json: bool) -> None:
    names = [path.name.removeprefix(_PREFIX).partition("@") for path in sorted(folder.glob(f"{_PREFIX}*"))]
    found = [{"variable": variable, "agent": agent} for variable, _, agent in names]
    if as_json:
        print_json({"secrets": found})
    elif found:
        print_table(("VARIABLE", "FOR"), [(one["variable"], one["agent"] or "all that name it") for one in found])
    else:
        say("No secret is set.")
