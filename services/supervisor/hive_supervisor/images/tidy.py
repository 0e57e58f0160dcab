"""Taking out of a root what differs from build to build or is of no use in a container."""

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from hive_supervisor.images import tree

EPOCH: Final = 1_767_225_600
"""2026-01-01, where SOURCE_DATE_EPOCH says nothing."""

_EMPTIED: Final = (
    "var/log",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "run",
    "tmp",
    "var/tmp",
    "dev",
    "root",
)
_REMOVED: Final = (
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/.pwd.lock",
    "etc/dpkg/dpkg.cfg.d/hyperhive",
)


def epoch() -> int:
    """Seconds; nothing in an image is newer."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(given) if given.isdigit() else EPOCH


def tidy(root: Path) -> int:
    """The size of what is left, in bytes."""
    for name in _EMPTIED:
        _empty(tree.inside(root, name))
    for name in _REMOVED:
        tree.inside(root, name).unlink(missing_ok=True)
    for old in tree.folder(root, "var/lib/dpkg").glob("*-old"):
        old.unlink()
    _fix_shadow(root)
    return _settle(root)


def _empty(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fix_shadow(root: Path) -> None:
    """No password opens anything, and the day of the build is nobody's."""
    lines = [line.split(":") for line in tree.read(root, "etc/shadow").splitlines()]
    if lines:
        days = str(epoch() // 86_400)
        text = "".join(":".join([name, "*", days, *rest]) + "\n" for name, _, _, *rest in lines)
        tree.write(root, "etc/shadow", text, mode=0o600)


def _settle(root: Path) -> int:
    """No file newer than the epoch, none with set-user-id: nothing in a container may become another by it."""
    latest, size = epoch(), 0
    for folder, names, files in os.walk(root, topdown=False):
        for name in (*files, *names):
            path = os.path.join(folder, name)  # noqa: PTH118  half a million of them
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode):
                size += found.st_blocks * 512 // found.st_nlink
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o6000:
                os.chmod(path, found.st_mode & 0o1777)  # noqa: PTH101
            if found.st_mtime > latest:
                os.utime(path, (latest, latest), follow_symlinks=False)
    os.utime(root, (latest, latest))
    return size
