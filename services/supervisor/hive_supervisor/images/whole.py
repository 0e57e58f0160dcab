"""Directories that are there whole or not at all, however their making ends, and however many make them at once.

What is made stands beside its place as `.NAME.partial`, under a lock that dies with its process. So whoever holds the
lock knows that what partial he finds belongs to nobody.
"""

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hive_supervisor.images.errors import BuildFailed


@contextmanager
def locked(target: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """One at a time for `target`; another is told that it waits, by `waiting`."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock_file(target).open("a") as lock:
        if not _taken(lock):
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Gives an empty directory, which takes the place of `target` at the end; at an error it is removed.

    Call it under `locked`.
    """
    partial = _partial(target)
    remove_tree(partial)
    partial.mkdir()
    partial.chmod(0o755)  # it becomes somebody's /
    try:
        yield partial
        subprocess.run(["sync", "--file-system", partial], check=False)
        if target.exists():
            discard(target)
        partial.rename(target)
    except BaseException:
        remove_tree(partial)
        raise


def sweep(directory: Path) -> None:
    """Remove what builds that were killed, and removals that were, left in `directory`."""
    for partial in directory.glob(".*.partial"):
        target = partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))
        with _lock_file(target).open("a") as lock:
            if _taken(lock):
                remove_tree(partial)
    for discarded in directory.glob(".*.discarded"):
        remove_tree(discarded)


def discard(target: Path) -> None:
    """It is gone at once, though its removal takes a while. Call it under `locked`."""
    discarded = target.with_name(f".{target.name}.discarded")
    remove_tree(discarded)
    target.rename(discarded)
    remove_tree(discarded)


def remove_tree(tree: Path) -> None:
    """Nothing to do when it is not there. Follows no link. Raises `BuildFailed` when something is mounted in it."""
    if mounted := mounts_below(tree):
        raise BuildFailed(f"{mounted[0]} is mounted in what is to be removed; unmount it (umount {mounted[0]})")
    if tree.exists():
        shutil.rmtree(tree)


def mounts_below(tree: Path) -> list[str]:
    """Mount points at `tree` or in it."""
    top = str(tree.resolve())
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    named = [point.encode().decode("unicode_escape") for point in points]
    return [point for point in named if point == top or point.startswith(top + "/")]


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _lock_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
