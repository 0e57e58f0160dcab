"""Whose the files of an agent are: made anew when they were another user's, as after a restore or another back-end.

The agent made these trees: no link is followed, and nothing is opened but folders. It must not run meanwhile.
"""

import os
from pathlib import Path


def hand_over(tree: Path, *, uid: int, others: int) -> None:
    """What belonged to the owner of `tree` goes to `uid`, all else in it to `others`; the group is `uid` throughout.

    `tree` itself goes last, so that one cut short is done again; nothing to do when it is of `uid`.
    """
    before = tree.lstat().st_uid
    if before == uid:
        return
    for _, folders, files, descriptor in os.fwalk(tree, follow_symlinks=False):
        for name in (*folders, *files):
            owner = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid
            new = uid if owner in (before, uid) else others
            os.chown(name, new, uid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(tree, uid, uid, follow_symlinks=False)
