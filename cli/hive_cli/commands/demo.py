"""`hive demo`: the story of `hive up --demo`, in a hive that runs already."""

from hive_cli.command import command, data_dir, hive_client
from hive_cli.output import say


@command("demo", example="hive demo")
def demo() -> None:
    """Add two scripted agents to the running hive, and let them begin their story."""
    from hive_cli.stack.demo import play  # noqa: PLC0415  the help needs none of it

    play(hive_client(), data_dir(), say)
