"""What holds for every verb: its help has an example and fits narrow terminals, and it answers programs in JSON."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from hive_cli.app import COMMANDS, app

COLUMNS = 40
FOR_PEOPLE = {"up", "watch", "setup claude", "install", "uninstall", "completion", "test"}
"""What shows progress, or something that is no data."""


def verbs() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(app)
    for name in COMMANDS:
        found = app.get_command(context, name)
        assert found
        if isinstance(found, click.Group):
            yield from ((f"{name} {below}", found.commands[below]) for below in found.commands)
        yield name, found


VERBS = dict(verbs())


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_and_fits_a_narrow_terminal(verb: str) -> None:
    done = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": str(COLUMNS)}, prog_name="hive")
    assert done.exit_code == 0
    before, _, after = done.output.partition("Example:\n")
    assert after.lstrip().startswith("$ ")
    assert "hive" in after
    assert [line for line in before.splitlines() if len(line) > COLUMNS and len(line.split()) > 2] == []


@pytest.mark.parametrize(
    "verb",
    sorted(name for name, found in VERBS.items() if not isinstance(found, click.Group) and name not in FOR_PEOPLE),
)
def test_programs_are_answered_in_json(verb: str) -> None:
    assert any("--json" in option.opts for option in VERBS[verb].params)
