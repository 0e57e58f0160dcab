"""`notes.md` in the state directory is the agent's memory. Here it is replaced by a shorter one, so that none is lost.

Whenever the harness is killed, `notes.md` holds all of the old text or all of the new, and the old text is in
`.hive/notes` before the new one is in its place: written down, then replaced, then the oldest copies are removed. Each
step may be done again. The engine may write the file at any time: what it wrote since the text was read wins.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_contracts.errors import Refused
from hive_contracts.ids import new_id
from hive_harness.folder import Folder
from hive_harness.prompt import CLOSING, NOTES, OPENING

EARLIER: Final = (".hive", "notes")
KEPT: Final = 5
"""Earlier texts that stay, the newest."""

MAX_BYTES: Final = 400_000
"""Longer notes fit no model: they are left to the agent."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class NotTaken(Refused):
    """The notes stay as they are."""

    code = "notes_not_taken"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Sizes in bytes. `earlier`: where the text before is, from the state directory on."""

    before: int
    after: int
    earlier: str


class Notes:
    def __init__(self, state_dir: Path) -> None:
        self._home = Folder(state_dir)
        self._earlier = Folder(state_dir, *EARLIER)

    def size(self) -> int:
        """In bytes; 0 when there are none."""
        try:
            return self._home.sizes().get(NOTES, 0)
        except OSError:
            return 0

    def read(self) -> str:
        """Raises `NotTaken` where they are not such that a model could rewrite them."""
        content = self.content()
        if not content.strip():
            raise NotTaken(f"there is nothing in {NOTES}")
        if len(content) > MAX_BYTES:
            raise NotTaken(f"{NOTES} is over {MAX_BYTES:,} bytes, more than a model can rewrite; shorten it by hand")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise NotTaken(f"{NOTES} is not UTF-8 text: {error.reason} at byte {error.start}") from error

    def replace(self, old: str, new: str) -> Rewritten:
        """Put `new` in the place of `old`. Raises `NotTaken` when `old` is no longer what stands there."""
        before, after = old.encode(), new.encode()
        try:
            name = self._keep(before)
            if self.content() != before:
                raise NotTaken(f"{NOTES} was written while it was being shortened; it stays as it is")
            self._home.write(NOTES, after, durable=True, shared=True)
            self._forget_oldest()
        except OSError as error:
            raise NotTaken(f"{NOTES} could not be replaced: {error.strerror}") from error
        return Rewritten(len(before), len(after), "/".join((*EARLIER, name)))

    def _keep(self, content: bytes) -> str:
        """Write the text down beside; once, however often it is tried."""
        names = self._copies()
        if names and self._earlier.read(names[-1], limit=MAX_BYTES + 1) == content:
            return names[-1]
        name = f"{new_id()}.md"
        self._earlier.write(name, content, durable=True)
        return name

    def _forget_oldest(self) -> None:
        for name in self._copies()[:-KEPT]:
            self._earlier.remove(name)

    def _copies(self) -> list[str]:
        """Oldest first. What an engine put there under other names is not ours to remove."""
        return [name for name in self._earlier.sizes() if re.fullmatch(r"[0-9a-z]{26}\.md", name)]

    def content(self) -> bytes:
        """As it stands; no more of it than one byte over what can be rewritten. Raises `NotTaken`."""
        try:
            return self._home.read(NOTES, limit=MAX_BYTES + 1) or b""
        except OSError as error:
            raise NotTaken(f"{NOTES} cannot be read: {error.strerror}") from error


def new_notes(old: str, answer: str) -> str:
    """The new text out of a model's answer. Raises `NotTaken` unless it is whole, not empty, text, and smaller."""
    text = answer.replace("\r\n", "\n").strip()
    if not (text.startswith(OPENING) and text.endswith(CLOSING)):
        raise NotTaken(f"the answer is not all between {OPENING} and {CLOSING}")
    text = text.removeprefix(OPENING).removesuffix(CLOSING).strip()
    if not text:
        raise NotTaken("the new notes are empty")
    if OPENING in text or CLOSING in text:
        raise NotTaken(f"the answer holds more than one {OPENING}")
    if _CONTROL.search(text) or not _encodable(text):
        raise NotTaken("the new notes hold what is no text")
    if sum(line.lstrip().startswith("```") for line in text.splitlines()) % 2:
        raise NotTaken("the new notes begin a block of code that does not end")
    if len(text.encode()) + 1 >= len(old.encode()):
        raise NotTaken("the new notes are no smaller than the old")
    return text + "\n"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
