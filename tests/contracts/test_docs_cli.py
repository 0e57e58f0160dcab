"""`docs/cli.md` is what the commands say of themselves; every verb of the design is there."""

import re
from pathlib import Path

import click
import pytest

from hive_cli.app import COMMANDS, app
from hive_cli.manual import manual

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

DESIGN = [
    "up",
    "test",
    "status",
    "agents",
    "spawn",
    "start",
    "stop",
    "restart",
    "rebuild",
    "pause",
    "resume",
    "destroy",
    "send",
    "inbox",
    "trace",
    "approvals",
    "approve",
    "deny",
    "questions",
    "answer",
    "cancel-question",
    "model",
    "cancel",
    "compact",
    "nap",
    "logs",
    "stats",
    "dead-letters",
    "redrive",
    "retention",
    "doctor",
    "backup",
    "restore",
]
"""The verbs that are fixed."""

READS = [
    "status",
    "agents",
    "inbox",
    "trace",
    "approvals",
    "approval",
    "drafts",
    "questions",
    "stats",
    "dead-letters",
    "retention",
    "doctor",
    "logs",
    "audit",
    "watch",
]


def leaves() -> dict[str, click.Command]:
    """`verb` or `verb part` → its command."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command
        found |= {name: command}
        if isinstance(command, click.Group):
            found |= {f"{name} {part}": one for part, one in command.commands.items()}
    return found


def test_the_page_is_made_from_the_commands() -> None:
    assert PAGE.read_text() == manual().rstrip("\n") + "\n", "run: ./hive debug manual > docs/cli.md"


@pytest.mark.parametrize("verb", DESIGN)
def test_every_verb_of_the_design_is_there(verb: str) -> None:
    assert verb in COMMANDS


@pytest.mark.parametrize("verb", READS)
def test_every_read_prints_json(verb: str) -> None:
    assert "--json" in {name for parameter in leaves()[verb].params for name in parameter.opts}


def test_what_asks_may_be_told_yes_with_y() -> None:
    for path, command in leaves().items():
        options = {name for parameter in command.params for name in parameter.opts}
        assert "--yes" not in options or "-y" in options, path


def test_every_command_has_help_and_an_example_that_begins_with_it() -> None:
    for path, command in leaves().items():
        assert command.help, path
        assert re.search(rf"\$ .*hive {path}\b", command.epilog or ""), path
