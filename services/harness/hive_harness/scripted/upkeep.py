"""What the scripted engine does when not a message but the harness asks: shorten the conversation, keep the notes."""

import os
import time
from pathlib import Path
from typing import Final

from hive_harness.prompt import CHECKPOINT, CLOSING, COMPACT, NOTES, OPENING, REWRITE
from hive_harness.scripted.directives import Crash, Fail, Hang, Say, Sleep, directives
from hive_harness.scripted.speech import Speech

SHARE: Final = 3
"""Notes are cut to their newest third."""


def keep_up(text: str, speech: Speech, *, turn: int) -> int:
    """Do what `text` asks for, if it is the harness that asks; the number of steps taken, 0 if it is not."""
    if text.partition(" ")[0] == COMPACT:
        speech.compact()
        return 1
    if text == CHECKPOINT:
        arguments = {"file_path": NOTES, "content": f"- turn {turn}: the conversation was shortened\n"}
        call_id = speech.call("Write", arguments)
        with Path(NOTES).open("a") as file:
            file.write(arguments["content"])
        speech.result_of(call_id, f"wrote {NOTES}", is_error=False)
        return 1
    return 0


def answer_alone(text: str, speech: Speech) -> None:
    """Rewrite the notes in `text`. Directives in them say how it goes: `!say` gives the answer, `!fail` ends it."""
    notes = text.removeprefix(REWRITE)
    answer = f"{OPENING}\n{_newest(notes)}\n{CLOSING}"
    for directive in directives(notes):
        match directive:
            case Say(said):
                answer = said
            case Sleep(seconds):
                time.sleep(seconds)
            case Fail(kind):
                speech.fail(kind, steps=1)
                return
            case Crash():
                os._exit(1)
            case Hang():
                while True:
                    time.sleep(3600)
            case _:
                continue
    speech.say(answer)
    speech.end(answer, steps=1)


def _newest(notes: str) -> str:
    lines = list(dict.fromkeys(line for line in notes.splitlines() if line.strip()))
    kept: list[str] = []
    room = len(notes.encode()) // SHARE
    while lines and (room := room - len(lines[-1].encode()) - 1) >= 0:
        kept.insert(0, lines.pop())
    return "\n".join(kept) or "(nothing)"
