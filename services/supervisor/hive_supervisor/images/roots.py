"""Minimal Debian roots that images begin with, kept in the user's cache: debootstrap is the slow part of a build."""

import hashlib
import os
from pathlib import Path
from typing import Final

from hive_supervisor.images import debian
from hive_supervisor.images.confined import Report
from hive_supervisor.images.debian import Release
from hive_supervisor.images.whole import locked, sweep, whole

RECIPE: Final = 1
"""Counted up when a root is made differently than before."""


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperhive" / "roots"


def base_root(release: Release, *, report: Report) -> Path:
    """That of `release`, made first where it is not there. Not to be written to. Raises `BuildFailed`."""
    target = cache_dir() / f"base-{key(str(RECIPE), *release.options())}"
    with locked(target, waiting=lambda: report("waiting for another build")):
        if not target.exists():
            sweep(target.parent)
            with whole(target) as partial:
                debian.bootstrap(release, partial, report=report)
    return target


def key(*inputs: str) -> str:
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:12]
