"""Passwords and keys: files of this user alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hive_cli.doctor.site import Site
from hive_runtime.checkup import EVERYTHING, Finding, State

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def look(site: Site) -> Iterator[Finding]:
    open_ones = list(_open(site.data.secrets))
    if open_ones:
        names = ", ".join(path.name for path in open_ones)
        text = f"other users may reach {names} in {site.data.secrets.parent}"
        yield Finding(EVERYTHING, "secrets", State.WRONG, text, "hive doctor --fix, or chmod go= them", mendable=True)
    elif site.data.secrets.is_dir():
        yield Finding(EVERYTHING, "secrets", State.OK, "readable by you alone")


def mend(site: Site) -> Iterator[str]:
    for path in list(_open(site.data.secrets)):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~OTHERS)
        yield f"{path} is readable by you alone now"


def _open(folder: Path) -> Iterator[Path]:
    """What is of this user and open to others; a link is left alone."""
    for path in (folder, *sorted(folder.glob("*"))):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & OTHERS and found.st_uid == os.geteuid():
            yield path
