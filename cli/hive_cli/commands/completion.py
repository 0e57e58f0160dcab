"""`hive completion`."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from hive_cli.command import command
from hive_cli.output import say

VARIABLE = "_HIVE_COMPLETE"

_TYPED_IN_FISH: Final = "    set -l typed (string replace -r '^~/' \"$HOME/\" -- (commandline -opc)[1]);\n"

AS_TYPED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "bash": (),
    "zsh": (
        ("    (( ! $+commands[hive] )) && return 1\n", ""),
        ("=zsh_complete hive)", "=zsh_complete ${~words[1]})"),
    ),
    "fish": (
        ("completion;\n", f"completion;\n{_TYPED_IN_FISH}"),
        ("COMP_CWORD=(commandline -t) hive", "COMP_CWORD=(commandline -t) $typed"),
    ),
}
"""By shell, what takes the place of what: click's own ask whichever `hive` is on the PATH, not the one that was typed,
so that `./hive` of a checkout would complete nothing, or as another version does."""


@command(
    "completion", example='eval "$(hive completion bash)"\nhive completion fish > ~/.config/fish/completions/hive.fish'
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print what makes SHELL complete verbs, options and the names of agents; to be read at its start."""
    kind = get_completion_class(shell)
    assert kind  # noqa: S101 - one of those that click has
    text = kind(click.Command("hive"), {}, "hive", VARIABLE).source()
    for asked, typed in AS_TYPED[shell]:
        text = text.replace(asked, typed, 1)
    say(text)
