"""Making the data directory usable, the hive's id and its secrets."""

import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from hive_cli.paths import DataDir
from hive_contracts.errors import Refused

MIN_FREE_BYTES: Final = 1_000_000
DIRECTORY_MODE: Final = 0o700
RESTORING: Final = "restoring"
"""The file that is there while a restore fills a directory that cannot be replaced at once."""


def prepare(data: DataDir) -> None:
    """Make the directories, private to this user. Raises `Refused`."""
    try:
        data.root.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        for path in (data.run, data.redis, data.secrets, data.logs, data.logs / "agents"):
            path.mkdir(exist_ok=True, mode=DIRECTORY_MODE)
        data.secrets.chmod(DIRECTORY_MODE)
        _check_writable(data.root)
    except OSError as error:
        raise _not_writable(data, error.strerror or str(error)) from error


def check_place(data: DataDir) -> None:
    """Raises `Refused` when there is something else than a directory, or one that a restore has half filled."""
    if data.root.exists() and not data.root.is_dir():
        raise _not_writable(data, "it is no directory")
    if (data.root / RESTORING).exists():
        raise Refused(f"a restore into {data.root} was cut short; run it again to its end")


def _not_writable(data: DataDir, reason: str) -> Refused:
    return Refused(
        f"the data directory {data.root} is not writable ({reason}); make it so, or name another with --data-dir"
    )


def check_room(data: DataDir) -> None:
    """Raises `Refused` when the disk is full: the append-only file could take nothing."""
    free = shutil.disk_usage(data.root).free
    if free < MIN_FREE_BYTES:
        raise Refused(
            f"the disk that holds {data.root} is full ({free} bytes free), so Redis could keep nothing; free some "
            "space and start again"
        )


def _check_writable(root: Path) -> None:
    """By doing it: permissions do not tell of read-only file systems, nor bind root."""
    probe = root / f".probe-{os.getpid()}"
    probe.touch()
    probe.unlink()


def secret(data: DataDir, name: str) -> Path:
    """The file of a secret, made on first use; never rewritten."""
    path = data.secrets / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, readable by this user only."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # it may be a link of somebody who shares the directory
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
