"""`hive prepare`: what units and compose files run before they start the services."""

import os

import click

from hive_cli.command import command, data_dir
from hive_cli.output import say


@command("prepare", example="hive prepare --manager systemd --user hyperhive")
@click.option("--manager", required=True, metavar="WORD", help="What starts the services: systemd, compose.")
@click.option("--user", default="", metavar="NAME|UID:GID", help="As whom all services but the supervisor run.")
@click.option("--engine", type=click.Choice(["claude", "scripted"]), help="Instead of what is found.")
@click.option("--redis", metavar="URL", help="A Redis of your own; else one is set up in the data directory.")
def prepare(*, manager: str, user: str, engine: str | None, redis: str | None) -> None:
    """Make the data directory, its secrets and Redis' users, for services that something else than `hive up` starts.

    It starts nothing, and may be repeated at any time.
    """
    from hive_cli.stack.prepare import Wishes  # noqa: PLC0415  the help needs none of it
    from hive_cli.stack.prepare import prepare as make_ready  # noqa: PLC0415

    make_ready(data_dir(), Wishes(manager, user, engine, redis), os.environ, say)
