"""The user that broker, dashboard and Redis run as beside a supervisor that is root, and what of the files is whose.

Root stays the owner of the data directory's folders, and the sticky bit keeps its files from being renamed by others;
the group of that user may read and write. What that user's own programs write to is written for them as that user: no
link that they lay there can lead root astray.
"""

import grp
import os
import pwd
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_cli.errors import UsageProblem
from hive_cli.paths import DataDir
from hive_contracts.errors import HiveError, Refused

SHARED: Final = 0o3770
"""Folder of root: the group makes files in it, and takes away none but its own."""

READ_BY_GROUP: Final = 0o2750
AGENTS_FOLDER: Final = 0o2770
ROOT_ONLY: Final = 0o700
STORE: Final = 0o640
SQLITE: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


def find(name: str) -> Owner:
    """By name, or by `uid:gid`. Raises `UsageProblem`, `Refused`."""
    if os.geteuid() != 0:
        raise Refused("only root can give files to another user; leave --user out, or run this as root")
    uid, _, gid = name.partition(":")
    if uid.isdecimal() and gid.isdecimal():
        return Owner(int(uid), int(gid))
    try:
        found = pwd.getpwnam(name)
        return Owner(found.pw_uid, grp.getgrnam(name).gr_gid)
    except KeyError as error:
        raise UsageProblem(f"there is no user and group {name!r}; make them, or write uid:gid") from error


def part(data: DataDir, owner: Owner) -> None:
    """Make the folders what they are to be. May be repeated."""
    for path in (data.root, data.run):
        _give(path, 0, owner.gid, SHARED)
    for path in (data.secrets, data.logs):
        _give(path, 0, owner.gid, READ_BY_GROUP)
    for path in (data.root / "agents", data.root / "configs"):
        path.mkdir(exist_ok=True)
        _give(path, 0, owner.gid, SHARED)
    data.redis_run.mkdir(exist_ok=True)
    _take(data.redis_run, owner, 0o711)
    _take(data.redis, owner, ROOT_ONLY)
    _part_stores(data, owner)


def _part_stores(data: DataDir, owner: Owner) -> None:
    """What a restore, a `hive up` of root's, or an installation with another user left to nobody else."""
    for path in data.run.glob("broker-*.lock"):
        if path.lstat().st_uid != owner.uid:
            path.unlink()  # made anew by whoever serves an outbox
    for name in ("broker", "dashboard"):
        _hand_over_store(data.root / f"{name}.sqlite", owner.uid, owner.gid)
    for name in ("supervisor", "approvals"):
        _hand_over_store(data.root / f"{name}.sqlite", 0, owner.gid)
    for folder in (data.root / "agents").iterdir():
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0:
            _give(folder, 0, owner.gid, AGENTS_FOLDER)
            _hand_over_store(folder / "events.sqlite", owner.uid, owner.gid)


def _hand_over_store(path: Path, uid: int, gid: int) -> None:
    if _hand_over(path, uid, gid, begins=SQLITE):
        for side in ("-wal", "-shm"):
            _hand_over(Path(f"{path}{side}"), uid, gid)


def _hand_over(path: Path, uid: int, gid: int, *, begins: bytes = b"") -> bool:
    """Whether it was a file of this name alone, and root's where it is to stay so. What others lay there is left."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError:
        return False
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or (uid == 0 and found.st_uid != 0):
            return False
        if file.read(len(begins)) != begins:
            return False
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), STORE)
        return True


def let_read(path: Path, owner: Owner) -> None:
    """A file of root's that the services read."""
    descriptor = _open(path, 0)
    try:
        os.fchown(descriptor, 0, owner.gid)
        os.fchmod(descriptor, 0o640)
    finally:
        os.close(descriptor)


def hand_over_files(folder: Path, owner: Owner) -> None:
    """What another user left in a folder of the owner's, as after a restore."""
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid != owner.uid:
                os.chown(name, owner.uid, owner.gid, dir_fd=descriptor, follow_symlinks=False)


def as_user(owner: Owner, work: Callable[[], None]) -> None:
    """Do `work` in a process that is that user for good. Raises `Refused` with what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _be(owner, work, writer)
    os.close(writer)
    with os.fdopen(reader) as said:
        reason = said.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise Refused(reason or f"a step as user {owner.uid} ended with {status}")


def _be(owner: Owner, work: Callable[[], None], writer: int) -> None:
    status = 1
    try:
        os.setgroups([])
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
        work()
        status = 0
    except (HiveError, OSError) as error:
        os.write(writer, str(error).encode())
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


def _give(path: Path, uid: int, gid: int, mode: int) -> None:
    descriptor = _open(path, os.O_DIRECTORY)
    try:
        os.fchown(descriptor, uid, gid)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """Raises `Refused` for a link."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags)
    except OSError as error:
        raise Refused(f"{path} is not what it was made as ({error.strerror}); look who changed it") from error


def _take(path: Path, owner: Owner, mode: int) -> None:
    _give(path, owner.uid, owner.gid, mode)
    hand_over_files(path, owner)
