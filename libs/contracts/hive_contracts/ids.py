"""Identifiers. Lower-case Crockford base 32, so that one can be read aloud and typed."""

import hashlib
import secrets
import time
from functools import lru_cache
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_MESSAGE_ID_BITS: Final = 80


def _base32(number: int, length: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (length - 1), -1, -5))


def new_id() -> str:
    """26 characters: 48 bits of milliseconds since 1970, then 80 random bits (ULID); sorts by time of making."""
    return _base32(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80), 26)


@lru_cache(maxsize=4096)  # a send asks for its own several times
def message_id(sender: str, key: str, recipient: str) -> str:
    """The id of the message that `sender` sent to `recipient` under its idempotency `key`.

    A pure function, so that sender and broker name the same message without talking, and a second delivery of one
    send cannot make a second message. The sender is part of it: nobody can claim another's id.
    """
    return "m-" + _digest(f"{sender}\0{key}\0{recipient}")


def question_id(asker: str, key: str) -> str:
    """The id of the question that `asker` asked under its idempotency `key`; pure, as `message_id` is."""
    return "q-" + _digest(f"question\0{asker}\0{key}")


def reminder_id(owner: str, key: str) -> str:
    """The id of the reminder that `owner` set under its idempotency `key`; pure, as `message_id` is."""
    return "r-" + _digest(f"reminder\0{owner}\0{key}")


def approval_id(requester: str, key: str) -> str:
    """The id of what `requester` asked for under its idempotency `key`; pure, as `message_id` is."""
    return "a-" + _digest(f"approval\0{requester}\0{key}")


def _digest(text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=_MESSAGE_ID_BITS // 8).digest()
    return _base32(int.from_bytes(digest), _MESSAGE_ID_BITS // 5)
