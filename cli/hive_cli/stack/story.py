"""The story of `hive up --demo`: what the operator's first message makes two scripted agents do.

A message's lines that begin with `!` are directives of the scripted engine; the others are for the reader.
"""

import json
from typing import Final

ADA: Final = "ada"
LIN: Final = "lin"
CAST: Final = {ADA: "Keeps the garden's diary", LIN: "Knows about bees"}


def say(text: str) -> str:
    return f"!say {text}"


def send(to: str, *lines: str) -> str:
    """A message of several lines, directives among them, as one directive."""
    return "!call send " + json.dumps({"to": to, "body": "\n".join(lines)}, ensure_ascii=False)


def ask(question: str, *options: str) -> str:
    return "!call ask_operator " + json.dumps({"question": question, "options": options}, ensure_ascii=False)


QUESTION: Final = ask(
    "Lin proposes Clementine for the bee. Shall we call her that, or do you know a better name?",
    "Clementine it is",
    "Let us think again",
)

DIARY: Final = send(
    "operator", "The bee sleeps in the tulips at noon. Its page in the diary is begun, but for the name."
)

LINS_ANSWER: Final = send(
    ADA,
    "Clementine. It suits somebody who is round, orange and in no hurry.",
    say("Clementine! I like it. But the operator has the last word."),
    DIARY,
    QUESTION,
)

OPENING: Final = "\n".join(
    (
        "Good morning, Ada. A bee has moved into the garden and needs a name. Ask Lin, then ask me.",
        say("A bee! I ask Lin at once; Lin knows about bees."),
        send(
            LIN,
            "Lin, a bee has moved in: small, round, late for everything. What shall we call her?",
            say("Late for everything… I know just the name."),
            LINS_ANSWER,
        ),
    )
)
"""From the operator to Ada: Ada asks Lin, Lin answers Ada, Ada writes to the operator and asks."""
