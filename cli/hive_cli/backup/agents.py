"""The agents' own files: what a harness keeps for itself, and, if asked for, what an agent keeps in its `/state`.

Agents can write these. So nothing is followed or opened but plain files and folders, each through its folder's
descriptor; and nothing is unpacked through a link.
"""

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from hive_contracts.errors import HiveError, Refused
from hive_contracts.names import check_agent_name

HARNESS_FILE: Final = "harness.json"
MAX_HARNESS_BYTES: Final = 4 * 1024**2
MAX_DEPTH: Final = 64
_PLAIN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = _PLAIN | os.O_DIRECTORY


def agent_names(root: Path) -> list[str]:
    found = [path.name for path in sorted((root / "agents").glob("*")) if path.is_dir() and not path.is_symlink()]
    return [name for name in found if _is_name(name)]


def _is_name(name: str) -> bool:
    try:
        check_agent_name(name)
    except HiveError:
        return False
    return True


def harness_files(root: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Name → content of what the harness of `name` keeps over restarts."""
    try:
        folder = os.open(root / "agents" / name / "harness", _FOLDER)
    except OSError:
        return
    try:
        for entry in _names(folder):
            if not entry.startswith(".") and (content := _content(folder, entry)) is not None:
                yield entry, content
    finally:
        os.close(folder)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _content(folder: int, name: str) -> bytes | None:
    try:
        descriptor = os.open(name, _PLAIN, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_HARNESS_BYTES:
            return None
        return file.read(MAX_HARNESS_BYTES)


def pack_state(root: Path, name: str, target: Path) -> list[str]:
    """A plain tar of the `/state` of `name`; what was left out, as it is neither file, folder nor link."""
    left_out: list[str] = []
    try:
        top = os.open(root / "agents" / name / "state", _FOLDER)
    except OSError:
        return left_out
    with tarfile.open(target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _pack(tar, top, "", left_out, depth=0)
    return [f"state of {name}: {path}" for path in left_out]


def _pack(tar: tarfile.TarFile, folder: int, prefix: str, left_out: list[str], *, depth: int) -> None:
    """Closes `folder`. What goes away meanwhile is left out in silence: the agent is at work."""
    try:
        for name in _names(folder):
            path = f"{prefix}{name}"
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                info = tarfile.TarInfo(path)
                info.mode, info.mtime = stat.S_IMODE(found.st_mode) & 0o777, int(found.st_mtime)
                if stat.S_ISDIR(found.st_mode) and depth < MAX_DEPTH:
                    info.type = tarfile.DIRTYPE
                    tar.addfile(info)
                    _pack(tar, os.open(name, _FOLDER, dir_fd=folder), f"{path}/", left_out, depth=depth + 1)
                elif stat.S_ISREG(found.st_mode):
                    _pack_file(tar, info, os.open(name, _PLAIN, dir_fd=folder))
                elif stat.S_ISLNK(found.st_mode):
                    info.type, info.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
                    tar.addfile(info)
                else:
                    left_out.append(path)
            except FileNotFoundError:
                continue
            except OSError:
                left_out.append(path)
    finally:
        os.close(folder)


class _Steady:
    """Exactly `size` bytes, whatever the file does while it is read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._file.read(wanted).ljust(wanted, b"\0")
        self._left -= len(found)
        return found


def _pack_file(tar: tarfile.TarFile, info: tarfile.TarInfo, descriptor: int) -> None:
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            info.size = found.st_size
            tar.addfile(info, _Steady(file, found.st_size))


def unpack_state(packed: Path, state: Path) -> None:
    """Into the folder `state`, which is empty. Raises `Refused` when anything would lie outside of it."""
    top = os.open(state, _FOLDER)
    try:
        with tarfile.open(packed, mode="r|") as tar:
            for info in tar:
                _unpack(tar, info, top)
    except (tarfile.TarError, EOFError) as error:
        raise Refused(f"{packed.name} in this backup is not whole ({error}); nothing was changed") from error
    finally:
        os.close(top)


def _unpack(tar: tarfile.TarFile, info: tarfile.TarInfo, top: int) -> None:
    *folders, name = parts = info.name.split("/")
    if not all(parts) or any(part in (".", "..") for part in parts) or len(parts) > MAX_DEPTH + 2:
        raise Refused(f"this backup has a state with the path {info.name[:100]!r}; nothing was changed")
    try:
        folder = _descend(top, folders)
        try:
            _make(tar, info, folder, name)
        finally:
            os.close(folder)
    except OSError as error:
        raise Refused(f"{info.name[:100]!r} of an agent's state cannot be made: {error.strerror}") from error


def _descend(top: int, folders: list[str]) -> int:
    """Through folders only; a link in the way is an error."""
    here = os.dup(top)
    for part in folders:
        there = os.open(part, _FOLDER, dir_fd=here)
        os.close(here)
        here = there
    return here


def _make(tar: tarfile.TarFile, info: tarfile.TarInfo, folder: int, name: str) -> None:
    if info.isdir():
        os.mkdir(name, 0o700, dir_fd=folder)
        os.chmod(name, (info.mode & 0o777) | 0o700, dir_fd=folder)
    elif info.issym():
        os.symlink(info.linkname, name, dir_fd=folder)
    elif info.isreg():
        content = tar.extractfile(info)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            while content and (chunk := content.read(1024**2)):
                file.write(chunk)
            os.fchmod(descriptor, info.mode & 0o777)
    else:
        raise Refused(f"this backup has a state with {name[:100]!r}, which is no file; nothing was changed")


def paused(content: bytes) -> bytes:
    """What a harness kept, and that it is paused."""
    try:
        kept: Any = json.loads(content or b"{}")
    except ValueError:
        kept = {}
    return json.dumps((kept if isinstance(kept, dict) else {}) | {"paused": True}).encode()
