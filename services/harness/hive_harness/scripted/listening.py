"""Standard input, read beside the turn that runs, so that an interrupt is heard in the middle of it."""

import json
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(Exception):
    """Whoever drives this engine wants the turn left off."""


class Listening:
    """`lines` are prompts, until the end of input. Within `turn`, an interrupt is raised as `Interrupted`."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._in_turn = False
        signal.signal(signal.SIGINT, self._on_signal)
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self) -> Iterator[str]:
        while (line := self._lines.get()) is not None:
            yield line

    @contextmanager
    def turn(self) -> Iterator[None]:
        self._in_turn = True
        try:
            yield
        finally:
            self._in_turn = False

    def _read(self) -> None:
        for line in sys.stdin:
            if _is_interrupt(line):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                self._lines.put(line)
        self._lines.put(None)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self._in_turn:
            self._in_turn = False
            raise Interrupted


def _is_interrupt(line: str) -> bool:
    try:
        document = json.loads(line)
        return bool(document["type"] == "control_request" and document["request"]["subtype"] == "interrupt")
    except (ValueError, KeyError, TypeError):
        return False
