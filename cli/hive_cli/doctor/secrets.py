"""Passwords and keys: files of this user alone, but for what services that are another user read by their group."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_cli.doctor.site import Site
from hive_cli.paths import DataDir
from hive_cli.stack.managed import manager_of
from hive_runtime.checkup import EVERYTHING, Finding, State

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
BESIDES_SERVICES: Final = stat.S_IWGRP | stat.S_IRWXO


def look(site: Site) -> Iterator[Finding]:
    open_ones = list(_open(site.data))
    if open_ones:
        names = ", ".join(path.name for path, _ in open_ones)
        text = f"other users may reach {names} in {site.data.secrets.parent}"
        yield Finding(EVERYTHING, "secrets", State.WRONG, text, "hive doctor --fix, or chmod go= them", mendable=True)
    elif site.data.secrets.is_dir():
        yield Finding(EVERYTHING, "secrets", State.OK, "readable by those alone who need them")


def mend(site: Site) -> Iterator[str]:
    for path, rights in list(_open(site.data)):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~rights)
        yield f"{path} is readable by you alone now"


def _open(data: DataDir) -> Iterator[tuple[Path, int]]:
    """What is of this user and open to others, and the rights that are too many. A link is left alone, and a device, as
    which Compose mounts a key that there is not."""
    services = data.root.stat().st_gid if manager_of(data) else None
    for path in (data.secrets, *sorted(data.secrets.glob("*"))):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        rights = BESIDES_SERVICES if found.st_gid == services else OTHERS
        if (
            stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR)
            and found.st_mode & rights
            and found.st_uid == os.geteuid()
        ):
            yield path, rights
