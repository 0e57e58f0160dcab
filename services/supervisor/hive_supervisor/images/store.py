"""The images of a hive on disk: `DIR/VERSION/tree`, with what it was made of in `DIR/VERSION/image.json`.

A version's directory is there whole or not at all. Its tree is read-only to all that use it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hive_supervisor.images.config import ImageSettings
from hive_supervisor.images.errors import ImageInUse, NoImage
from hive_supervisor.images.whole import discard, locked

TREE: Final = "tree"
FACTS: Final = "image.json"
BUILD: Final = "make one with `hive image build`"


@dataclass(frozen=True, slots=True)
class Image:
    """`root` is its tree; `facts` what it was made of, for people; `size` in bytes."""

    version: str
    root: Path
    built_at: datetime
    size: int
    facts: Mapping[str, Any]


class ImageStore:
    """`agents_dir` holds the agents' folders, in which back-ends note the image that a container is made of."""

    def __init__(self, directory: Path, agents_dir: Path) -> None:
        self.directory = directory
        self._agents_dir = agents_dir

    def place(self, version: str) -> Path:
        return self.directory / version

    def all(self) -> list[Image]:
        """The newest first."""
        found = [image for path in self.directory.glob("*/") if (image := _read(path))]
        return sorted(found, key=lambda image: (image.built_at, image.version), reverse=True)

    def find(self, version: str = "") -> Image:
        """That of `version`, else the newest. Raises `NoImage`."""
        images = self.all()
        if not images:
            raise NoImage(f"there is no image to make containers of; {BUILD}")
        if not version:
            return images[0]
        for image in images:
            if image.version == version:
                return image
        have = ", ".join(image.version for image in images)
        raise NoImage(f"there is no image {version} (there are: {have}); name one of these, or {BUILD}")

    def tree(self, version: str = "") -> Path:
        """The root directory of an image, as `find`."""
        return self.find(version).root

    def users(self, version: str) -> list[str]:
        """The agents whose containers are made of it, running or not."""
        records = self._agents_dir.glob("*/*.json")
        return sorted({record.parent.name for record in records if _image_of(record) == version})

    def remove(self, version: str) -> Image:
        """Raises `NoImage`, and `ImageInUse` while a container is made of it."""
        image = self.find(version)
        with locked(self.place(version)):
            self.check_unused(version)
            if self.place(version).exists():
                discard(self.place(version))
        return image

    def check_unused(self, version: str) -> None:
        """Raises `ImageInUse`."""
        if users := self.users(version):
            raise ImageInUse(
                f"image {version} is in use by {', '.join(users)}; bring them to a newer one (hive rebuild), or "
                "destroy them, and try again"
            )

    def removable(self, keep: int) -> list[Image]:
        """All but the newest `keep` and those in use."""
        return [image for image in self.all()[keep:] if not self.users(image.version)]


def open_store(config: ImageSettings, data_dir: Path) -> ImageStore:
    return ImageStore(config.dir or data_dir / "images", data_dir / "agents")


def write_facts(directory: Path, facts: Mapping[str, Any], *, size: int) -> None:
    """Beside the tree in a version's directory."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"built_at": now, "size": size, **facts}, indent=2, sort_keys=True)
    (directory / FACTS).write_text(text + "\n")


def _read(directory: Path) -> Image | None:
    try:
        facts = json.loads((directory / FACTS).read_bytes())
        built_at = datetime.fromisoformat(facts["built_at"])
        return Image(directory.name, directory / TREE, built_at, int(facts["size"]), facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _image_of(record: Path) -> str | None:
    try:
        found = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return None
    return found.get("image") if isinstance(found, dict) else None
