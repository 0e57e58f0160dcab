"""A real image for tests, built once for the sources as they are, and kept in the user's cache. Without Claude Code."""

import os
import shutil

import pytest

from hive_supervisor.images import debian, roots
from hive_supervisor.images.build import Progress, Wanted, build
from hive_supervisor.images.store import Image, ImageStore

KEPT = 2
_PROGRAMS = {"debootstrap": "debootstrap", "unshare": "util-linux"}


def built_image() -> Image:
    """Not to be written to. Skips, or fails under `CI=true`, where none can be built."""
    if reason := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    directory = roots.cache_dir().parent / "images"
    store = ImageStore(directory, directory / "no-agents")
    wanted = Wanted(debian.release())
    image = build(store, wanted, Progress(step=lambda *_: None, detail=lambda _: None)).image
    for old in store.removable(KEPT):
        store.remove(old.version)
    return image


def why_not() -> str:
    if os.geteuid() != 0:
        return "an image is built as root; run the tests as root"
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (on Debian: apt install {' '.join(missing)})" if missing else ""
