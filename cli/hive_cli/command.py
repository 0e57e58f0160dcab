"""What every command shares: its help with an example, `--data-dir` after the verb too, and `--json`."""

import os
import shutil
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from hive_cli.client import HiveClient, find_hive
from hive_cli.paths import DataDir, resolve
from hive_contracts.errors import HiveError

F = TypeVar("F", bound=Callable[..., Any])

COMPLETION_S: Final = 2.0
"""How long a shell waits for the names of agents."""

LEAST_COLUMNS: Final = 30
DATA_DIR_KEY: Final = "hive_cli.data_dir"
DATA_DIR_HELP: Final = "Where the hive keeps its data [default: HIVE_DATA_DIR, else ~/.local/share/hyperhive]."


def _remember(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value == "":
        raise click.BadParameter("it is empty; name a directory, or leave it out", context, _)
    if value is not None:
        context.meta[DATA_DIR_KEY] = value


def data_dir_option() -> click.Option:
    return click.Option(
        ["--data-dir"], metavar="DIR", expose_value=False, callback=_remember, is_eager=True, help=DATA_DIR_HELP
    )


class _AgentName(click.types.StringParamType):
    """Any text; in a shell, the names of the agents of the hive that runs."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            client = find_hive(resolve(ctx.meta.get(DATA_DIR_KEY), os.environ))
            found = client.patient(COMPLETION_S).get("/api/v1/agents")["agents"]
        except (HiveError, KeyError, TypeError):
            return []
        return [CompletionItem(agent["name"]) for agent in found if agent["name"].startswith(incomplete)]


def agent_argument(name: str, **settings: Any) -> Callable[[F], F]:
    """An argument that names an agent. It is taken as it is: the command says what is wrong with it."""
    return click.argument(name, type=_AgentName(), **settings)


class Narrow(click.HelpFormatter):
    """Fits terminals that are narrower than the 50 columns which click's own takes at least."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = min(shutil.get_terminal_size().columns, max_width or 80)
        super().__init__(indent_increment, width=width or max(LEAST_COLUMNS, columns - 2), max_width=max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width // 2 - self.current_indent), col_spacing)


class HiveContext(click.Context):
    formatter_class = Narrow


class HiveCommand(click.Command):
    """`--data-dir` works before the verb and after it; after it wins."""

    context_class = HiveContext

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(data_dir_option())


class HiveGroup(click.Group):
    """Of verbs, or of what comes after one."""

    context_class = HiveContext


def command(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of `hive`. The docstring is its help; `example`, one a line, stands below it."""
    lines = "\n".join(f"  $ {line}" for line in example.splitlines())
    return click.command(name, cls=HiveCommand, epilog=f"\b\nExample:\n{lines}", **settings)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def data_dir() -> DataDir:
    """The data directory that this invocation is about."""
    context = click.get_current_context()
    return resolve(context.meta.get(DATA_DIR_KEY), os.environ)


def hive_client() -> HiveClient:
    """Raises `NotRunning`."""
    return find_hive(data_dir())
