"""The program that makes and keeps images: the supervisor's, run as the user who asks, whether a hive runs or not."""

from collections.abc import Sequence
from typing import Any, Final

from hive_cli.paths import DataDir
from hive_cli.stack.tool import run_tool

MODULE: Final = "hive_supervisor.images"


def run_image_tool(data: DataDir, words: Sequence[str], *, quiet: bool) -> Any:
    """As `run_tool`."""
    return run_tool(MODULE, data, words, quiet=quiet)
