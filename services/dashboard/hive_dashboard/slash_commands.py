"""The commands that may be typed into an agent page's input line, as the page offers them."""

from dataclasses import dataclass
from typing import Final

MODEL: Final = "model"
HELP: Final = "help"


@dataclass(frozen=True, slots=True)
class Command:
    """One that may be typed. `field`: what stands behind its name; empty for nothing."""

    name: str
    about: str
    field: str = ""


COMMANDS: Final = (
    Command(MODEL, "another model from its next turn on; nothing behind it: its own", "name"),
    Command("cancel", "end its turn now"),
    Command("compact", "shorten its conversation"),
    Command("compact-notes", "shorten its notes"),
    Command("new-session", "begin its next turn with an empty conversation"),
    Command("nap", "no turn before so many seconds have passed", "seconds"),
    Command("wake", "end a nap or a wait"),
    Command("pause", "take up no message until you resume it"),
    Command("resume", "take up messages again"),
    Command("login", "sign its engine in"),
    Command(HELP, "what may be typed here"),
)
"""In the order in which they are offered."""

FIELDS: Final = {command.name: command.field for command in COMMANDS if command.field}
"""Which field of a verb's form the text behind its name is."""
