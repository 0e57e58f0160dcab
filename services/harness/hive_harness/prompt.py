"""The wake prompt: a header that a program can parse, then the message. Built and parsed here only.

Standard library only: the scripted engine, which must start fast, imports this.
"""

import re
from dataclasses import dataclass
from typing import Final

REDELIVERED: Final = (
    "This message was delivered before and that turn did not end well; check what is already done before you repeat it."
)
BROADCAST: Final = "This message went to every agent; it may need no answer."
CONTEXT: Final = "This message did not wake you; it is for your information."

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
    broadcast: bool = False
    context_only: bool = False


def build(wake: Wake) -> str:
    reply = f", in reply to {wake.in_reply_to}" if wake.in_reply_to else ""
    waiting = f" ({wake.waiting} more waiting)" if wake.waiting else ""
    header = f"Message {wake.message_id} from {wake.sender}{reply}{waiting}:"
    said = ((REDELIVERED, wake.redelivered), (BROADCAST, wake.broadcast), (CONTEXT, wake.context_only))
    banners = "".join(f"\n{banner}" for banner, holds in said if holds)
    return f"{header}{banners}\n\n{wake.body}"


def parse(text: str) -> Wake | None:
    """The inverse of `build`; None for a text that it did not make."""
    head, blank, body = text.partition("\n\n")
    header, *banners = head.split("\n")
    found = _HEADER.fullmatch(header)
    if not (found and blank and {REDELIVERED, BROADCAST, CONTEXT}.issuperset(banners)):
        return None
    return Wake(
        found["id"],
        found["sender"],
        body,
        in_reply_to=found["reply"],
        waiting=int(found["waiting"] or 0),
        redelivered=REDELIVERED in banners,
        broadcast=BROADCAST in banners,
        context_only=CONTEXT in banners,
    )
