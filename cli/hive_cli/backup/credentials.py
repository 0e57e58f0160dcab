"""Keys and logins, encrypted with a passphrase: scrypt makes the key, ChaCha20-Poly1305 encrypts and seals.

The passwords of Redis' users are not among them: a restored hive makes new ones.
"""

import json
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hive_contracts.errors import Refused

MAGIC: Final = b"hyperhive credentials 1\n"
SALT_BYTES, NONCE_BYTES = 16, 12
WORK: Final = 2**16
"""Of scrypt: 64 MB and a fifth of a second for each try."""

SHORTEST: Final = 8
LOGIN: Final = "state/.claude/.credentials.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,200}")
MAX_BYTES: Final = 1024**2
_PLAIN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def collect(root: Path, agents: list[str]) -> dict[str, bytes]:
    """Path in the data directory → content."""
    found = {
        f"secrets/{path.name}": path.read_bytes()
        for path in sorted((root / "secrets").glob("*"))
        if path.is_file() and not path.is_symlink() and is_kept(path.name)
    }
    for name in agents:
        if login := _login(root / "agents" / name):
            found[f"agents/{name}/{LOGIN}"] = login
    return found


def is_kept(name: str) -> bool:
    """Whether a file of that name in `secrets` goes into a backup, and comes out of one."""
    own = name.startswith("redis-") or name.endswith(".partial")
    return bool(_NAME.fullmatch(name)) and not own


def _login(folder: Path) -> bytes | None:
    """The agent can write there: no link is followed on the way."""
    descriptors: list[int] = []
    try:
        here = os.open(folder, _PLAIN | os.O_DIRECTORY)
        descriptors.append(here)
        *folders, name = LOGIN.split("/")
        for part in folders:
            here = os.open(part, _PLAIN | os.O_DIRECTORY, dir_fd=here)
            descriptors.append(here)
        descriptor = os.open(name, _PLAIN, dir_fd=here)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
    finally:
        for one in descriptors:
            os.close(one)


def encrypt(files: Mapping[str, bytes], passphrase: str, *, backup: str) -> bytes:
    """Bound to the id of the backup. Raises `Refused` for a passphrase that is too short."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415  slow to load

    if len(passphrase) < SHORTEST:
        raise Refused(f"a passphrase has {SHORTEST} characters or more")
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    text = json.dumps({path: b64encode(content).decode() for path, content in files.items()}).encode()
    return MAGIC + salt + nonce + ChaCha20Poly1305(_key(passphrase, salt)).encrypt(nonce, text, _bound(backup))


def decrypt(sealed: bytes, passphrase: str, *, backup: str) -> dict[str, bytes]:
    """Raises `Refused` for the wrong passphrase, which cannot be told from one of another backup."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

    salt_end = len(MAGIC) + SALT_BYTES
    if not sealed.startswith(MAGIC) or len(sealed) < salt_end + NONCE_BYTES:
        raise Refused("the credentials in this backup are of a form that this hyperhive does not know; upgrade it")
    salt, nonce = sealed[len(MAGIC) : salt_end], sealed[salt_end : salt_end + NONCE_BYTES]
    try:
        cipher = ChaCha20Poly1305(_key(passphrase, salt))
        text = cipher.decrypt(nonce, sealed[salt_end + NONCE_BYTES :], _bound(backup))
    except InvalidTag as error:
        raise Refused("this is not the passphrase of the backup's credentials; nothing was changed") from error
    return {path: b64decode(content) for path, content in json.loads(text).items()}


def _bound(backup: str) -> bytes:
    return MAGIC + backup.encode()


def _key(passphrase: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415  as above

    return Scrypt(salt=salt, length=32, n=WORK, r=8, p=1).derive(passphrase.encode())
