"""`docs/cli.md`, made from the commands themselves."""

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

from hive_cli.app import COMMANDS, app

HEAD: Final = """# The command line

Made from the commands themselves by `hive debug manual`; a test keeps it so. `hive VERB --help` says the same.

Every verb takes `--data-dir DIR`, before or after it: where the hive keeps its data, else `HIVE_DATA_DIR`, else
`~/.local/share/hyperhive`. What reads something prints JSON with `--json`. Colour is for terminals only, and off with
`NO_COLOR`; nothing is cut in a pipe. Where you would be asked, `-y` says yes. `hive completion bash` (or `zsh`, `fish`)
completes verbs, options and the names of agents.

| exit code | means |
| --- | --- |
| 0 | done, and confirmed by whom it concerns |
| 1 | failed, or something is wrong |
| 2 | usage: the command line, a setting or an input is not valid |
| 3 | not found |
| 4 | refused; the sentence says why and what to do |
| 5 | timed out: it may still be done |
| 6 | no hive is running for this data directory |
| 130 | broken off with Ctrl-C |
"""
SHARED: Final = frozenset({"--data-dir", "--json", "--help"})


def manual() -> str:
    return "\n".join((HEAD, *_overview(), *(line for name in COMMANDS for line in _command(name))))


def _overview() -> Iterator[str]:
    yield "| verb | does |"
    yield "| --- | --- |"
    for name, (_, summary) in COMMANDS.items():
        yield f"| [`{name}`](#hive-{name}) | {summary} |"
    yield ""


def _command(name: str) -> Iterator[str]:
    found = app.get_command(click.Context(app), name)
    assert found  # noqa: S101 - it is in the table
    yield from _section(f"hive {name}", found, level=2)
    if isinstance(found, click.Group):
        for part, command in found.commands.items():
            yield from _section(f"hive {name} {part}", command, level=3)


def _section(path: str, command: click.Command, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {path}\n"
    yield f"{_prose(command.help or '')}\n"
    example = re.findall(r"^\s+\$ (.*)$", command.epilog or "", flags=re.M)
    usage = " ".join(command.collect_usage_pieces(click.Context(command, info_name=path)))
    yield "```"
    yield f"{path} {usage}\n"
    yield from (f"$ {line}" for line in example)
    yield "```\n"
    options = [row for row in map(_option, command.params) if row]
    if options:
        yield "| option | |"
        yield "| --- | --- |"
        yield from options
        yield ""


def _prose(text: str) -> str:
    """Without click's marks, paragraphs on lines of their own."""
    paragraphs = inspect.cleandoc(text).replace("\b", "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _option(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option) or SHARED & set(parameter.opts) or parameter.hidden:
        return ""
    names, text = parameter.get_help_record(click.Context(click.Command("x"))) or ("", "")
    return f"| `{names.replace('|', chr(92) + '|')}` | {' '.join(text.split()).replace('|', chr(92) + '|')} |"
