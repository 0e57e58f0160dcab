"""Whose the files of an agent are: made anew when they were another user's, as after a restore or another back-end.

The agent made these trees: no link is followed, and nothing is opened but folders, one at a time however deep they lie.
It must not run meanwhile.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def hand_over(tree: Path, *, uid: int, others: int) -> None:
    """What belonged to the owner of `tree` goes to `uid`, all else in it to `others`; the group is `uid` throughout.

    `tree` itself goes last, so that one cut short is done again; nothing to do when it is of `uid`.
    """
    before = tree.lstat().st_uid
    if before == uid:
        return
    for name, descriptor in _all_in(tree):
        owner = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid
        new = uid if owner in (before, uid) else others
        os.chown(name, new, uid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(tree, uid, uid, follow_symlinks=False)


def _all_in(tree: Path) -> Iterator[tuple[str, int]]:
    """Each file and folder below `tree`, with a descriptor of the folder that it is in."""
    here = os.open(tree, _FOLDER)
    try:
        waiting: list[list[str]] = []
        while True:
            folders = []
            for name, is_folder in _entries(here):
                yield name, here
                if is_folder:
                    folders.append(name)
            waiting.append(folders)
            while waiting and not waiting[-1]:
                waiting.pop()
                if waiting:
                    here = _moved(here, "..")
            if not waiting:
                return
            here = _moved(here, waiting[-1].pop())
    finally:
        os.close(here)


def _entries(folder: int) -> list[tuple[str, bool]]:
    with os.scandir(folder) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]


def _moved(here: int, name: str) -> int:
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there
