"""Removing what an agent left on disk. Nothing in it is opened or followed: it belongs to a stranger."""

import shutil
from pathlib import Path

from hive_contracts.errors import Unavailable


def wipe(path: Path) -> None:
    """The file, or the folder with all that is in it; nothing to do when there is none.

    Raises `Unavailable` when something stays, as when another process just put a file into it: to be repeated.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"{path} is not removed: {error.strerror}") from error
