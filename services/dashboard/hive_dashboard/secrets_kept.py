"""How secrets of 256 random bits are kept: as a fast hash, which is enough for what nobody can guess."""

import hashlib
from typing import Final

SECRET_BYTES: Final = 32


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
