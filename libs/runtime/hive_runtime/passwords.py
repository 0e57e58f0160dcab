"""The password files of Redis users, on the host's side: `redis-<user>`, and `redis-<user>.old` while one is replaced.

The server accepts exactly what stands in these files. So whoever makes a user again, after whatever was killed, makes
it as it was; a password that is being replaced is known by its `.old` file, a second name of the first until the new
one is there.
"""

import os
import secrets
import stat
from pathlib import Path


class PasswordFiles:
    """`folder` is private to this user, and so is each file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, user: str) -> Path:
        """The file with the password to log in with; made on first use."""
        path = self._folder / f"redis-{user}"
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, secrets.token_urlsafe(32))
        return path

    def has(self, user: str) -> bool:
        """Whether it was given one."""
        return (self._folder / f"redis-{user}").exists()

    def valid(self, user: str) -> tuple[str, ...]:
        """The passwords that the server is to accept: the one to log in with, then the one that it replaces, if any."""
        old = self._old(user)
        found = [self.path(user).read_text().strip(), *([old.read_text().strip()] if old.exists() else [])]
        return tuple(dict.fromkeys(found))

    def is_replaced(self, user: str) -> bool:
        """Whether two may be valid."""
        return self._old(user).exists()

    def begin(self, user: str) -> str | None:
        """Mark the password as one that is replaced; returns the one to come, None when that is written already."""
        old = self._old(user)
        if not old.exists():
            os.link(self.path(user), old)
        return secrets.token_urlsafe(32) if old.read_text() == self.path(user).read_text() else None

    def write(self, user: str, new: str) -> None:
        """From now on `new` is the one to log in with; it survives a loss of power."""
        _write(self._folder / f"redis-{user}", new)

    def end(self, user: str) -> None:
        """The old one is refused by the server: forget it."""
        self._old(user).unlink(missing_ok=True)

    def remove(self, user: str) -> None:
        self.end(user)
        (self._folder / f"redis-{user}").unlink(missing_ok=True)

    def _old(self, user: str) -> Path:
        return self._folder / f"redis-{user}.old"


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Who could read the one before can read this one."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if path.exists():
            before = path.stat()
            os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
