"""Debian roots for tests, made once: the minimal one that images begin with too, and what is derived from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from hive_supervisor.images import debian, roots
from hive_supervisor.images.whole import locked, whole

MAKE: Final = "3"
"""Count it up when a root is made differently than its name and packages tell."""


def derived_root(name: str, packages: tuple[str, ...], finish: Callable[[Path], None]) -> Path:
    """The minimal root with further packages. Not to be written to; of several processes one makes it."""
    release = debian.release()
    target = roots.cache_dir() / f"{name}-{roots.key(MAKE, *release.options(), *packages)}"
    with locked(target):
        if not target.exists():
            with whole(target) as partial:
                debian.copy(roots.base_root(release, report=_silent), partial)
                debian.install(partial, packages, release, report=_silent)
                finish(partial)
    return target


def _silent(_: str) -> None:
    return
