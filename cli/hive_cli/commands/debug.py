"""`hive debug …`: for those who work on hyperhive."""

import asyncio
import secrets
from pathlib import Path

import click

from hive_cli.command import command, json_option
from hive_cli.errors import DONE, FAILED
from hive_cli.output import complain, print_json


@click.group("debug")
def debug() -> None:
    """For those who work on hyperhive."""


@command("chaos", example="hive debug chaos --seed 1 --messages 300 --kills 25 --agents 5")
@click.option("--seed", type=int, help="Decides traffic, victims and moments [default: a new one].")
@click.option("--messages", type=click.IntRange(10), default=1000, show_default=True, help="How many in all.")
@click.option("--kills", type=click.IntRange(0), default=40, show_default=True, help="How many kill -9.")
@click.option("--agents", type=click.IntRange(2, 99), default=20, show_default=True, help="How many, with the manager.")
@click.option(
    "--appendfsync", type=click.Choice(["everysec", "always"]), default="everysec", show_default=True, help="Of Redis."
)
@click.option("--keep", is_flag=True, help="Keep the hive's directory in any case.")
@json_option
def chaos(  # noqa: PLR0913 - a command's options
    *, seed: int | None, messages: int, kills: int, agents: int, appendfsync: str, keep: bool, as_json: bool
) -> int:
    """Start a hive of its own, send messages while killing its processes, and check that nothing was lost.

    The exit code is 0 when every message was handled exactly once and in order, else 1; then the hive's directory
    stays.
    """
    from hive_cli.chaos.run import Options, run  # noqa: PLC0415  the other commands need none of it

    options = Options(
        seed=secrets.randbelow(1_000_000) if seed is None else seed,
        messages=messages,
        kills=kills,
        agents=agents,
        appendfsync=appendfsync,
        keep=keep,
    )
    kept: list[Path] = []
    report = asyncio.run(run(options, lambda text: click.echo(text, err=True), keep=kept))
    if as_json:
        print_json(report.as_json())
    else:
        report.show()
    if kept:
        complain(f"the hive's directory is kept: {kept[0]}")
    return DONE if report.passed else FAILED


debug.add_command(chaos)
