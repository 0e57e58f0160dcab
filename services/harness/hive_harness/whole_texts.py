"""Whole texts of which a live event shows the beginning: in the agent's state directory, the newest of them.

The agent can read them there, and so can an operator in its terminal. The harness never reads one.
"""

from collections import deque
from pathlib import Path
from typing import Final

import structlog

from hive_contracts.ids import new_id
from hive_harness.folder import Folder

PLACE: Final = (".hive", "texts")
MAX_FILES: Final = 200
MAX_BYTES: Final = 32 * 1024 * 1024
"""Of all files together."""

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
"""Of one file; what is beyond is nowhere."""

log = structlog.get_logger()


class WholeTexts:
    """`<state>/.hive/texts`, one file a text, named by its time."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = Folder(state_dir, *PLACE)
        self._files: deque[tuple[str, int]] | None = None

    def keep(self, text: str) -> str:
        """Its path from the state directory on; empty when it could not be written."""
        name = f"{new_id()}.txt"
        content = text.encode("utf-8", "replace")[:MAX_TEXT_BYTES]
        try:
            if self._files is None:
                self._files = deque(self._folder.sizes().items())
            self._folder.write(name, content, durable=False)
            self._files.append((name, len(content)))
            self._make_room(self._files)
        except OSError as error:
            log.warning("a whole text could not be kept", reason=str(error))
            return ""
        return "/".join((*PLACE, name))

    def _make_room(self, files: deque[tuple[str, int]]) -> None:
        while len(files) > MAX_FILES or sum(size for _, size in files) > MAX_BYTES:
            self._folder.remove(files.popleft()[0])
