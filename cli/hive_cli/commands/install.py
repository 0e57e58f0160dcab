"""`hive install` and `hive uninstall`: a hive that the machine starts."""

import os
from typing import Final

import click

from hive_cli.command import DATA_DIR_KEY, command
from hive_cli.errors import UsageProblem
from hive_cli.output import say
from hive_cli.paths import DataDir, resolve

DATA: Final = "/var/lib/hyperhive"


def _data() -> DataDir:
    given = click.get_current_context().meta.get(DATA_DIR_KEY) or os.environ.get("HIVE_DATA_DIR") or DATA
    return resolve(given, {})


@command("install", example="hive install --systemd --dry-run\nhive install --systemd")
@click.option("--systemd", is_flag=True, help="As units of systemd; the only way there is so far.")
@click.option(
    "--user", default="hyperhive", show_default=True, help="As whom all but the supervisor run; made if absent."
)
@click.option("--redis", default="", metavar="URL", help="A Redis of your own instead of one in the data directory.")
@click.option("--no-start", is_flag=True, help="Only enable it: it starts with the machine.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def install(*, systemd: bool, user: str, redis: str, no_start: bool, dry_run: bool) -> None:
    """Install the hive as services of this machine, kept in /var/lib/hyperhive, and start it.

    Run it again after an upgrade of hyperhive: it writes the new units and starts the hive anew.
    """
    from hive_cli.systemd import install as steps  # noqa: PLC0415  the help needs none of it

    if not systemd:
        raise UsageProblem("say --systemd: that is the only way to install it so far")
    data = _data()
    steps.install(data, steps.layout_of(data, user, redis), say, dry_run=dry_run, start=not no_start)


@command("uninstall", example="hive uninstall --dry-run\nhive uninstall")
@click.option("--force", is_flag=True, help="Remove units that were changed since, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def uninstall(*, force: bool, dry_run: bool) -> None:
    """Stop the installed hive and remove what `hive install` made; the data directory stays."""
    from hive_cli.systemd import install as steps  # noqa: PLC0415  the help needs none of it

    steps.uninstall(say, dry_run=dry_run, force=force)
