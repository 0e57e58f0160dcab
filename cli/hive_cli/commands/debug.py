"""`hive debug …`: for those who work on hyperhive."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any, Final

import click

from hive_cli.client import HiveClient
from hive_cli.command import command, hive_client, json_option
from hive_cli.errors import DONE, FAILED, ApiProblem
from hive_cli.output import complain, print_json, say
from hive_contracts.errors import HiveError

CREDENTIALS: Final = "/api/v1/credentials"
LOOK_S: Final = 0.3
AWAY_S: Final = 30.0
"""How long the dashboard may be without an answer: it, too, is put out and comes back. Seconds."""


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


@command("rotate-credentials", example="hive debug rotate-credentials\nhive debug rotate-credentials ada hive-broker")
@click.argument("names", nargs=-1)
@json_option
def rotate_credentials(*, names: tuple[str, ...], as_json: bool) -> None:
    """Give agents and services new Redis passwords while the hive runs; nothing is lost.

    NAMES are agents, or the services hive-broker, hive-dashboard and hive-supervisor; without any, all. Agents are
    restarted one after the other, when no turn runs. It goes on by itself when this command is interrupted.
    """
    client = hive_client()
    rotation = client.post(CREDENTIALS, {"names": list(names)}).data["rotation"]
    told = 0
    while True:
        if not as_json:
            for user in rotation["done"][told:]:
                say(f"{user} has a new password")
        told = len(rotation["done"])
        if rotation["ended_at"]:
            break
        time.sleep(LOOK_S)
        rotation = _progress(client)
    if as_json:
        print_json(rotation)
    else:
        say(f"{told} passwords rotated; the old ones are refused.")
        if rotation["cut_short"]:
            say(f"Restarted in mid-turn, their messages are taken up again: {', '.join(rotation['cut_short'])}")


def _progress(client: HiveClient) -> dict[str, Any]:
    until = time.monotonic() + AWAY_S
    while True:
        try:
            return dict(client.get(CREDENTIALS)["rotation"])
        except HiveError as error:
            away = not isinstance(error, ApiProblem) or error.http_status >= 500
            if not away or time.monotonic() > until:
                raise
            time.sleep(LOOK_S)


debug.add_command(chaos)


@command("soak", example="hive debug soak --agents 20 --minutes 10")
@click.option("--agents", type=click.IntRange(2, 99), default=20, show_default=True, help="How many, with the manager.")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=10, show_default=True, help="Of traffic.")
@json_option
def soak(*, agents: int, minutes: float, as_json: bool) -> int:
    """Start a hive of its own, keep it busy, and check that nothing grows: memory, file handles, processes, streams,
    stores.

    The exit code is 0 when nothing grew beyond its limit, else 1; then the hive's directory stays.
    """
    from hive_cli.soak.run import run  # noqa: PLC0415  the other commands need none of it

    kept: list[Path] = []
    report = asyncio.run(run(agents, 60 * minutes, lambda text: click.echo(text, err=True), keep=kept))
    if as_json:
        print_json(report.as_json())
    else:
        report.show()
    if kept:
        complain(f"the hive's directory is kept: {kept[0]}")
    return DONE if report.passed else FAILED


debug.add_command(soak)
debug.add_command(rotate_credentials)


@command("manual", example="hive debug manual > docs/cli.md")
def manual() -> None:
    """Print docs/cli.md, made from the commands themselves."""
    from hive_cli import manual as pages  # noqa: PLC0415  loads every command

    say(pages.manual().rstrip("\n"))


debug.add_command(manual)
