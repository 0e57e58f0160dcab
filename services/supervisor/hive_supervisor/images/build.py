"""Building an image: from inputs to a version in the store, in steps that are told as they come."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_supervisor.images import confined, contents, debian, inputs, roots
from hive_supervisor.images.debian import Release
from hive_supervisor.images.errors import BadTarball, BuildFailed, CannotBuild
from hive_supervisor.images.inputs import Inputs
from hive_supervisor.images.store import TREE, Image, ImageStore, write_facts
from hive_supervisor.images.tidy import tidy
from hive_supervisor.images.whole import locked, sweep, whole

NEEDED_BYTES: Final = 1_500_000_000
"""While it is built from Debian's packages; less is left of it."""

CLAUDE_BYTES: Final = 400_000_000
STEPS: Final = 4
_PROGRAMS: Final = {"debootstrap": "debootstrap", "unshare": "util-linux", "chroot": "coreutils"}
_UNPACKED: Final = 5
"""How much larger than its tarball a root may be expected to be."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`claude`: where npm installed Claude Code, if the image is to have it. `again`: also when it is there already."""

    release: Release
    packages: tuple[str, ...] = ()
    tarball: Path | None = None
    claude: Path | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` gets its number from 1 to `STEPS` and what it does, `detail` what it does just now."""

    step: Callable[[int, str], None]
    detail: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """`new` is false when the image was there already."""

    image: Image
    new: bool


def build(store: ImageStore, wanted: Wanted, progress: Progress) -> Built:
    """Make an image, whole or not at all. Raises `CannotBuild`, `BadTarball`, `BuildFailed`, `ImageInUse`."""
    _check_here(wanted)
    made_of = _inputs(wanted)
    place = store.place(made_of.version)
    with locked(place, waiting=lambda: progress.detail("another build of this image is under way; waiting for it")):
        if place.exists() and not wanted.again:
            return Built(store.find(made_of.version), new=False)
        if place.exists():
            store.check_unused(made_of.version)
        sweep(store.directory)
        _check_room(store.directory, wanted)
        try:
            _make(place, made_of, wanted, progress)
        except OSError as error:
            raise BuildFailed(
                f"the image could not be written: {error.strerror or error} ({error.filename})"
            ) from error
    return Built(store.find(made_of.version), new=True)


def _inputs(wanted: Wanted) -> Inputs:
    if wanted.tarball is None:
        return inputs.debian_inputs(wanted.release, wanted.packages, wanted.claude)
    try:
        return inputs.tarball_inputs(wanted.tarball, wanted.claude)
    except OSError as error:
        raise BadTarball(f"{wanted.tarball} cannot be read: {error.strerror}") from error


def _make(place: Path, made_of: Inputs, wanted: Wanted, progress: Progress) -> None:
    with whole(place) as partial:
        root = partial / TREE
        root.mkdir()
        root.chmod(0o755)
        if wanted.tarball:
            progress.step(1, f"unpacking {wanted.tarball}")
            unpack(wanted.tarball, root)
        else:
            _make_debian(root, made_of, progress)
        progress.step(3, "installing hyperhive's harness")
        contents.put_all(root, made_of, wanted.claude, report=progress.detail)
        progress.step(4, "tidying up")
        write_facts(partial, made_of.facts(), size=tidy(root))


def _make_debian(root: Path, made_of: Inputs, progress: Progress) -> None:
    release = made_of.release
    assert release is not None  # noqa: S101  what is not from a tarball is from Debian
    progress.step(1, f"making a minimal Debian {release.suite}")
    debian.copy(roots.base_root(release, report=progress.detail), root)
    progress.step(2, f"installing {len(made_of.packages)} packages and what they need")
    debian.install(root, made_of.packages, release, report=progress.detail)


def unpack(tarball: Path, root: Path) -> None:
    """Into the empty directory `root`. Raises `BadTarball`."""
    command = [sys.executable, "-m", "hive_supervisor.images.unpack", str(tarball.absolute()), str(root)]
    try:
        confined.run(command, name="unpacking", report=lambda _: None)
    except BuildFailed as error:
        raise BadTarball(f"{tarball} cannot be used: {str(error).partition(': ')[2]}") from error


def _check_here(wanted: Wanted) -> None:
    if os.geteuid() != 0:
        raise CannotBuild("an image is built as root, for its files belong to root; run this with sudo")
    programs = ("unshare",) if wanted.tarball else tuple(_PROGRAMS)
    for program in programs:
        if shutil.which(program) is None:
            package = _PROGRAMS[program]
            raise CannotBuild(
                f"{program} is not installed; install it (on Debian: apt install {package}), or give a root with "
                "--from TARBALL"
            )


def _check_room(directory: Path, wanted: Wanted) -> None:
    needed = NEEDED_BYTES if wanted.tarball is None else wanted.tarball.stat().st_size * _UNPACKED
    needed += CLAUDE_BYTES if wanted.claude else 0
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise CannotBuild(
            f"the disk that holds {directory} has {free / 1e9:.1f} GB free, and a build takes about {needed / 1e9:.1f} "
            "GB; free some (hive image prune), or name another place ([images] dir)"
        )
