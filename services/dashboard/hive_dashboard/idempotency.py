"""Idempotency keys: the same thing asked for twice is done once."""

import hashlib
import re
from typing import Final

from hive_dashboard.errors import InvalidRequest

_KEY: Final = re.compile(r"[\x21-\x7e]{1,100}\Z")


def check_key(key: str) -> str:
    """A client's own key. Raises `InvalidRequest`."""
    if not _KEY.match(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 100 visible ASCII characters; make a new one for each send")
    return key


def key_of(nonce: str, *content: str) -> str | None:
    """The key of a form: its nonce and what was written into it; None for a form without a nonce.

    A form that the browser kept (back button) and that is sent again with another text is another message.
    """
    if not nonce:
        return None
    digest = hashlib.blake2b("\0".join((nonce, *content)).encode("utf-8", "replace"), digest_size=16)
    return f"form-{digest.hexdigest()}"
