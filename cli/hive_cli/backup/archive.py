"""The archive: a gzipped tar whose first member says what it is and whose last one what all the others must be.

    header.json                   format, id, hyperhive's version, time
    streams.bin                   the keys of Redis
    stores/<path in the data directory>
    configs/<name>.bundle         an agent's repository, with all its branches and tags
    harness/<name>/<file>         what an agent's harness keeps for itself
    state/<name>.tar              an agent's own files, if asked for
    hive.toml
    credentials.bin               encrypted, if asked for
    manifest.json                 size and SHA-256 of every member above, versions, what was left out

Reading believes nothing: names are of a fixed form, members are files, and nothing is used before all is checked.
"""

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hive_contracts.errors import Refused
from hive_contracts.names import AGENT_NAME_PATTERN
from hive_contracts.stores import AGENT_STORES, HIVE_STORES
from hive_runtime import VERSION

FORMAT: Final = 1
HEADER, MANIFEST = "header.json", "manifest.json"
STREAMS, SETTINGS, CREDENTIALS = "streams.bin", "hive.toml", "credentials.bin"
MAX_JSON_BYTES: Final = 64 * 1024**2
COMPRESSION: Final = 3
CHUNK: Final = 1024**2
ROOM_LEFT: Final = 64 * 1024**2
"""Bytes that unpacking leaves free on the disk."""

_NAME: Final = AGENT_NAME_PATTERN.strip("^$")
_STORES: Final = "|".join(re.escape(name) for name in HIVE_STORES)
_AGENT_STORES: Final = "|".join(re.escape(name) for name in AGENT_STORES)
_MEMBER: Final = re.compile(
    rf"(?:header\.json|manifest\.json|streams\.bin|hive\.toml|credentials\.bin|stores/(?:{_STORES})"
    rf"|stores/agents/{_NAME}/(?:{_AGENT_STORES})|configs/{_NAME}\.bundle|state/{_NAME}\.tar"
    rf"|harness/{_NAME}/[A-Za-z0-9][A-Za-z0-9_-]{{0,60}}(?:\.[A-Za-z0-9]{{1,10}})?)"
)
_DAMAGE: Final = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


class Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    hyperhive_backup: int = Field(ge=1)
    id: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$")
    hyperhive: str = VERSION
    made_at: str


class Member(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """`stores`: path → schema version. `held_s`: how long writes to Redis had to wait, in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    header: Header
    members: dict[str, Member]
    agents: list[str] = Field(default_factory=list)
    stores: dict[str, int] = Field(default_factory=dict)
    redis: str = ""
    keys: int = 0
    entries: int = 0
    held_s: float = 0.0
    left_out: list[str] = Field(default_factory=list)


@dataclass(slots=True)
class ArchiveWriter:
    """Made by `writing`. Members are written as they are added, and hashed on the way."""

    header: Header
    _tar: tarfile.TarFile
    members: dict[str, Member] = field(default_factory=dict)

    def add_bytes(self, name: str, content: bytes) -> None:
        self._add(name, BytesIO(content), len(content))

    def add_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            self._add(name, file, os.fstat(file.fileno()).st_size)

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        if not is_member(name):
            raise Refused(f"{name!r} cannot be a member of a backup")
        hashed = _Hashed(file)
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, hashed)
        self.members[name] = Member(size=size, sha256=hashed.hash.hexdigest())

    def end(self, **facts: Any) -> Manifest:
        manifest = Manifest(header=self.header, members=dict(self.members), **facts)
        self.add_bytes(MANIFEST, manifest.model_dump_json(indent=1).encode())
        return manifest


@dataclass(slots=True)
class _Hashed:
    file: IO[bytes]
    hash: Any = field(default_factory=hashlib.sha256)

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.hash.update(chunk)
        return chunk


def is_member(name: str) -> bool:
    """Whether a backup can have a member of that name."""
    return bool(_MEMBER.fullmatch(name))


@contextmanager
def writing(path: Path, header: Header) -> Iterator[ArchiveWriter]:
    """The archive takes its place when the block ends well; else nothing is left. Raises `Refused`."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=COMPRESSION) as tar:
                writer = ArchiveWriter(header, tar)
                writer.add_bytes(HEADER, header.model_dump_json().encode())
                yield writer
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror or error}; nothing is left there") from error
    finally:
        partial.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """So that a name survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unpack(path: Path, folder: Path) -> Manifest:
    """Every member as a file under `folder`, checked against the manifest. Raises `Refused` for anything odd."""
    found: dict[str, Member] = {}
    try:
        with gzip.open(path) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                _check(path, info, found)
                found[info.name] = _extract(tar, info, folder)
                if info.name == HEADER:
                    _check_header(path, folder)
            while rest := file.read(CHUNK):  # to gzip's own checksum
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("something follows its end")
    except _DAMAGE as error:
        if not found:
            raise _foreign(path) from error
        raise _damaged(path, f"it is cut short or altered ({error})") from error
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}") from error
    if not found:
        raise _foreign(path)
    return _verified(path, folder, found)


def _foreign(path: Path) -> Refused:
    return Refused(f"{path} is no backup of hyperhive; nothing was changed")


def _damaged(path: Path, how: str) -> Refused:
    return Refused(f"{path} cannot be used: {how}; nothing was changed. Take another backup")


def _check(path: Path, info: tarfile.TarInfo, found: Mapping[str, Member]) -> None:
    if not found and info.name != HEADER:
        raise _foreign(path)
    if not info.isreg() or not is_member(info.name):
        raise _damaged(path, f"it has a member {info.name[:100]!r}, which no backup has")
    if info.name in found or MANIFEST in found:
        raise _damaged(path, f"its member {info.name} is one too many")


def _check_header(path: Path, folder: Path) -> None:
    try:
        header = Header.model_validate_json((folder / HEADER).read_bytes())
    except ValidationError as error:
        raise _foreign(path) from error
    if header.hyperhive_backup > FORMAT:
        raise Refused(
            f"{path} was made by hyperhive {header.hyperhive}, which is newer than this one ({VERSION}); upgrade "
            "hyperhive first. Nothing was changed"
        )


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo, folder: Path) -> Member:
    if info.size + ROOM_LEFT > shutil.disk_usage(folder).free:
        raise Refused(f"the disk of {folder} has no room for {info.name} ({info.size} bytes); free some")
    target = folder / info.name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = tar.extractfile(info)
    assert content  # noqa: S101 - a regular file
    hashed = _Hashed(content)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(hashed, file, CHUNK)
    return Member(size=target.stat().st_size, sha256=hashed.hash.hexdigest())


def _verified(path: Path, folder: Path, found: Mapping[str, Member]) -> Manifest:
    if MANIFEST not in found:
        raise _damaged(path, "it is cut short")
    if found[MANIFEST].size > MAX_JSON_BYTES:
        raise _damaged(path, "its manifest is too long")
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        raise _damaged(path, "its manifest is not valid") from error
    for name, member in manifest.members.items():
        if found.get(name) != member:
            raise _damaged(path, f"{name} is not what it was when the backup was made")
    if strangers := found.keys() - manifest.members.keys() - {MANIFEST}:
        raise _damaged(path, f"{min(strangers)} was added to it")
    _check_versions(path, manifest)
    return manifest


def _check_versions(path: Path, manifest: Manifest) -> None:
    for store, version in manifest.stores.items():
        known = HIVE_STORES.get(store) or AGENT_STORES.get(Path(store).name, 0)
        if version > known:
            raise Refused(
                f"{path} was made by hyperhive {manifest.header.hyperhive}: its {store} has schema {version}, and this "
                f"one ({VERSION}) knows {known}; upgrade hyperhive first. Nothing was changed"
            )
