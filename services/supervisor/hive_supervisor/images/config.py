"""Settings of images: `[images]` in hive.toml, `HIVE_IMAGES_…` in the environment."""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from hive_runtime.settings import Settings

_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def _package(name: str) -> str:
    if not _PACKAGE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a Debian package")
    return name


class ImageSettings(Settings):
    """`dir` None is `images` in the data directory; `suite` and `mirror` None are this machine's own."""

    dir: Path | None = Field(default=None, description="where images lie, on a disk of its own if you like")
    suite: str | None = Field(default=None, pattern="^[a-z][a-z0-9.-]*$", description="the Debian release")
    mirror: str | None = Field(default=None, pattern="^(https?|file)://", description="where its packages come from")
    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(default=(), description="further packages")
    keep: int = Field(default=2, ge=1, description="versions that `hive image prune` leaves, the newest")
