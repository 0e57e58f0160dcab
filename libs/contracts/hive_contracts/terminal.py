"""A terminal in an agent's container, for the operator: commands to its harness, and the two streams its bytes go over.

`hive:{<a>}:keys` carries what is typed, and only the dashboard can write it; `hive:{<a>}:screen` what is shown, and
only that agent's harness and the dashboard touch it. Both are bounded in length and age, and emptied when the terminal
closes. What comes from the container is the container's word: bytes for a terminal emulator, and nothing else.
"""

import base64
import binascii
from typing import Annotated, ClassVar, Final

from pydantic import Field

from hive_contracts.envelope import MalformedEnvelope, Payload

MAX_INPUT_BYTES: Final = 16 * 1024
MAX_OUTPUT_BYTES: Final = 16 * 1024
KEYS_LENGTH: Final = 1_000
SCREEN_LENGTH: Final = 200
"""Entries kept: what a browser that comes back is shown, 3 MiB at most."""

SEEN_S: Final = 5.0
"""The dashboard says at least so often that somebody looks, in seconds."""

UNSEEN_S: Final = 20.0
"""Nobody looks when that was not said for so long: the terminal is read no further, and its programs wait."""

Columns = Annotated[int, Field(ge=2, le=500)]
Lines = Annotated[int, Field(ge=2, le=200)]


class OpenTerminal(Payload):
    """Open a terminal of this size, or join the one that is open; answered with `{"session": …, "fresh": …}`.

    `after`: the entry of `keys` from which on it is typed.
    """

    TYPE: ClassVar[str] = "terminal.open"

    columns: Columns
    lines: Lines
    after: str = Field(default="0-0", max_length=64, pattern=r"^\d+-\d+$")


class CloseTerminal(Payload):
    """End the terminal and all that runs in it. Nothing to do when none is open."""

    TYPE: ClassVar[str] = "terminal.close"


class TerminalTyped(Payload):
    """What was typed, in base 64; empty to say that somebody looks."""

    TYPE: ClassVar[str] = "terminal.typed"

    session: str = Field(max_length=64)
    data: str = Field(default="", max_length=MAX_INPUT_BYTES * 4 // 3 + 4, repr=False)


class TerminalResized(Payload):
    """Its window has another size."""

    TYPE: ClassVar[str] = "terminal.resized"

    session: str = Field(max_length=64)
    columns: Columns
    lines: Lines


class TerminalShown(Payload):
    """What is shown, in base 64."""

    TYPE: ClassVar[str] = "terminal.shown"

    session: str = Field(max_length=64)
    data: str = Field(max_length=MAX_OUTPUT_BYTES * 4 // 3 + 4, repr=False)


class TerminalEnded(Payload):
    """The session is over; `reason` in the harness's words."""

    TYPE: ClassVar[str] = "terminal.ended"

    session: str = Field(max_length=64)
    reason: str = Field(default="", max_length=300)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decoded(text: str) -> bytes:
    """Raises `MalformedEnvelope`."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedEnvelope(f"not base 64: {error}") from error
