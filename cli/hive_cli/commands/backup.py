"""`hive backup` and `hive restore`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from hive_cli.command import command, data_dir, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import counted, print_json, say, size, when
from hive_cli.stack.managed import STARTS
from hive_cli.stack.tool import Steps

_FILE = click.Path(dir_okay=False, path_type=Path)
_PASSPHRASE = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the passphrase of the credentials from its first line; - for standard input. Else it is asked for.",
)


@command("backup", example="hive backup ~/hive.tar.gz\nhive backup ~/hive.tar.gz --state --credentials")
@click.argument("file", type=_FILE)
@click.option("--state", is_flag=True, help="The agents' own files under /state too; they may be large.")
@click.option("--credentials", is_flag=True, help="Keys and logins too, encrypted with a passphrase.")
@_PASSPHRASE
@json_option
def backup(*, file: Path, state: bool, credentials: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Write one consistent archive of the hive to FILE: streams, stores, configurations; running or not.

    Agents go on meanwhile; what they write to Redis waits for a moment. What is in it and what not: docs/backup.md.
    """
    from hive_cli.backup import make  # noqa: PLC0415  the other commands need none of it

    if passphrase_file and not credentials:
        raise UsageProblem("a passphrase is for --credentials; add that")
    passphrase = _passphrase(passphrase_file, confirm=True) if credentials else None
    steps = Steps()
    wanted = make.Wanted(state=state, passphrase=passphrase)
    tell = _telling(steps, make.STEPS, quiet=as_json)
    target = file.expanduser().absolute()
    manifest = make.make(data_dir(), target, wanted, environ=os.environ, tell=tell)
    steps.end()
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"file": str(target), "size": target.stat().st_size})
        return
    agents = counted(len(manifest.agents), "agent")
    say(f"{target}: {size(target.stat().st_size)}, {agents}, {manifest.keys} keys of Redis")
    for sentence in manifest.left_out:
        say(f"  left out: {sentence}")
    say(f"Writes waited for {manifest.held_s:.2f} s. Look at it: hive restore --check {target}")


@command(
    "restore",
    example="hive restore ~/hive.tar.gz --data-dir ~/hives/again\nhive restore ~/hive.tar.gz --check\n"
    "hive restore ~/hive.tar.gz --redis redis://me:pw@db:6379/0",
)
@click.argument("file", type=_FILE)
@click.option("--check", is_flag=True, help="Only say whether it is whole and what is in it.")
@click.option(
    "--redis", metavar="URL", help="Into an empty Redis of your own [default: as the backup's hive.toml says]."
)
@click.option("--credentials", is_flag=True, help="With the keys and logins in it.")
@_PASSPHRASE
@json_option
def restore(
    *, file: Path, check: bool, redis: str | None, credentials: bool, passphrase_file: Path | None, as_json: bool
) -> None:
    """Make the hive of the backup FILE on the data directory, which must be empty or new; every agent is paused.

    A file that is damaged, altered, of something else or of a newer hyperhive is refused whole. Killed half way, this
    leaves the data directory as it was.
    """
    from hive_cli.backup import restore as work  # noqa: PLC0415  the other commands need none of it
    from hive_cli.systemd.install import Record  # noqa: PLC0415  likewise

    source = file.expanduser().absolute()
    if check:
        _print_check(work.check(source), as_json=as_json)
        return
    data = data_dir()
    work.check_source(source)
    work.check_target(data)
    wanted = credentials or passphrase_file is not None
    passphrase = _passphrase(passphrase_file, confirm=False) if wanted else None
    steps = Steps()
    tell = _telling(steps, work.STEPS, quiet=as_json)
    manifest = work.restore(source, data, redis=redis, passphrase=passphrase, tell=tell)
    steps.end()
    if as_json:
        print_json(manifest.model_dump(mode="json", exclude={"members"}) | {"data_dir": str(data.root)})
        return
    say(f"The hive of {when(manifest.header.made_at)} is in {data.root}; every agent is paused.")
    flag = f" --redis {_without_password(redis)}" if redis else ""
    start = f"hive up --data-dir {data.root}{flag}"
    if (installed := Record.read()) and installed.data_dir == str(data.root):
        start = STARTS["systemd"]
    say(f"Start it: {start}. Then look, and let them go on: hive resume --all --data-dir {data.root}")


def _telling(steps: Steps, of: int, *, quiet: bool) -> Any:
    return (lambda number, text: None) if quiet else (lambda number, text: steps.step(f"[{number}/{of}] {text}"))


def _print_check(manifest: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    header = manifest.header
    say(f"A whole backup of {when(header.made_at)}, by hyperhive {header.hyperhive}, from {manifest.redis}.")
    say(f"  agents   {', '.join(manifest.agents) or 'none'}")
    say(
        f"  holds    {manifest.keys} keys of Redis, {len(manifest.stores)} stores, {len(manifest.members)} files in all"
    )
    for sentence in manifest.left_out:
        say(f"  without  {sentence}")


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        text = sys.stdin.readline() if str(file) == "-" else file.read_text(errors="replace")
        return (text.splitlines() or [""])[0]
    if not sys.stdin.isatty():
        raise UsageProblem("there is no terminal to ask for the passphrase; name a file with --passphrase-file")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))


def _without_password(url: str) -> str:
    return "URL" if "@" in url else url
