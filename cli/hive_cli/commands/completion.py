"""`hive completion`."""

import click
from click.shell_completion import get_completion_class

from hive_cli.command import command
from hive_cli.output import say

VARIABLE = "_HIVE_COMPLETE"


@command(
    "completion", example='eval "$(hive completion bash)"\nhive completion fish > ~/.config/fish/completions/hive.fish'
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print what makes SHELL complete verbs, options and the names of agents; to be read at its start."""
    kind = get_completion_class(shell)
    assert kind  # noqa: S101 - one of those that click has
    say(kind(click.Command("hive"), {}, "hive", VARIABLE).source())
