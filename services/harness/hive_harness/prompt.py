"""The wake prompt: a header that a program can parse, then the message. Built and parsed here only.

Standard library only: the scripted engine, which must start fast, imports this.
"""

import re
from dataclasses import dataclass
from typing import Final

REDELIVERED: Final = (
    "This message was delivered before and that turn did not end well; check what is already done before you repeat it."
)

_HEADER = re.compile(
    r"Message (?P<id>\S+) from (?P<sender>\S+?)(?:, in reply to (?P<reply>\S+?))?"
    r"(?: \((?P<waiting>\d+) more waiting\))?:"
)


@dataclass(frozen=True, slots=True)
class Wake:
    """One message as the engine is given it. `waiting`: how many more the inbox holds."""

    message_id: str
    sender: str
    body: str
    in_reply_to: str | None = None
    waiting: int = 0
    redelivered: bool = False


def build(wake: Wake) -> str:
    reply = f", in reply to {wake.in_reply_to}" if wake.in_reply_to else ""
    waiting = f" ({wake.waiting} more waiting)" if wake.waiting else ""
    header = f"Message {wake.message_id} from {wake.sender}{reply}{waiting}:"
    banner = f"\n{REDELIVERED}" if wake.redelivered else ""
    return f"{header}{banner}\n\n{wake.body}"


def parse(text: str) -> Wake | None:
    """The inverse of `build`; None for a text that it did not make."""
    head, blank, body = text.partition("\n\n")
    header, _, banner = head.partition("\n")
    found = _HEADER.fullmatch(header)
    if not (found and blank and banner in {"", REDELIVERED}):
        return None
    return Wake(
        found["id"],
        found["sender"],
        body,
        in_reply_to=found["reply"],
        waiting=int(found["waiting"] or 0),
        redelivered=bool(banner),
    )
