"""`python -m hive_supervisor.images.unpack TARBALL DIRECTORY`: a root out of a tarball that nobody vouches for.

A process of its own, because it locks itself into the directory before it unpacks: a name or a link in the tarball can
lead nowhere else. Nothing of the tarball is run or loaded. Devices are left out, set-user-id bits are taken off.
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

MAX_ENTRIES: Final = 2_000_000
MAX_BYTES: Final = 32 * 1024**3
_PLAIN_MODE: Final = 0o1777


class Hostile(Exception):
    """What is wrong with an entry, in a few words."""


def main() -> int:
    tarball, directory = sys.argv[1:]
    try:
        with tarfile.open(tarball) as archive:
            os.chroot(directory)
            os.chdir("/")
            os.umask(0)
            archive.extraction_filter = lambda entry, _: entry  # they are looked at here
            archive.extractall(members=_checked(archive), numeric_owner=True)  # noqa: S202
    except Hostile as error:
        return _failed(str(error))
    except (tarfile.TarError, EOFError, ValueError) as error:
        return _failed(f"it is no whole tar file ({str(error).splitlines()[0]})")
    except OSError as error:
        return _failed(error.strerror or str(error))
    return 0


def _failed(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


def _checked(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Entries that may be unpacked. Raises `Hostile`."""
    total = 0
    for count, entry in enumerate(archive):
        total += entry.size if entry.isreg() else 0
        if count >= MAX_ENTRIES or total > MAX_BYTES:
            raise Hostile("it is larger than any root can be")
        _check_name(entry.name, entry.name)
        if entry.islnk():
            _check_name(entry.linkname, entry.name)
        if entry.ischr() or entry.isblk() or entry.isfifo():
            continue
        entry.mode &= _PLAIN_MODE
        yield entry


def _check_name(name: str, of: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise Hostile(f"the entry {of[:200]!r} leads out of it")


if __name__ == "__main__":
    sys.exit(main())
