"""Debian roots for tests: one debootstrap, and trees derived from it, made once and kept in the user's cache."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hive_supervisor.images import debian
from hive_supervisor.images.whole import locked, whole

MAKE: Final = 2
"""Count it up when a root is made differently than its key tells."""


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperhive" / "roots"


def base_root() -> Path:
    """A minimal Debian, as debootstrap makes it. Not to be written to."""
    release = debian.release()
    return made("base", release.options(), lambda root: debian.bootstrap(release, root, report=lambda _: None))


def derived_root(name: str, packages: tuple[str, ...], finish: Callable[[Path], None]) -> Path:
    """The base with further packages. Not to be written to."""

    def make(root: Path) -> None:
        debian.copy(base_root(), root)
        debian.install(root, packages, report=lambda _: None)
        finish(root)

    return made(name, (*debian.release().options(), *packages), make)


def made(name: str, inputs: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    """The tree that `make` makes of `inputs`; of several processes one makes it."""
    key = hashlib.sha256("\0".join((str(MAKE), *inputs)).encode()).hexdigest()[:12]
    target = cache_dir() / f"{name}-{key}"
    with locked(target):
        if not target.exists():
            with whole(target) as partial:
                make(partial)
    return target
