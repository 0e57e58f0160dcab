"""`hive setup claude`."""

import click

from hive_cli.command import HiveGroup, command, data_dir
from hive_cli.stack.claude_setup import install_claude


@click.group("setup", cls=HiveGroup, epilog="\b\nExample:\n  $ hive setup claude")
def setup() -> None:
    """Install what hyperhive can use but does not bring."""


@command("claude", example="hive setup claude")
def claude() -> None:
    """Install the Claude Code CLI into the data directory, from the npm registry."""
    install_claude(data_dir())


setup.add_command(claude)
