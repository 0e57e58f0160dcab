"""The engine's own login, run in the container: its link goes to the operator, the operator's code goes to it.

`claude auth login` prints a link, waits for a line with the code that the page behind the link shows, and exits with 0
when it is signed in (checked with 2.1.197). Its credentials lie in this agent's configuration directory and are no
other agent's. The code is good once, and only for the process that made the link.
"""

import asyncio
import contextlib
import os
import re
import signal
from typing import Final

from hive_contracts.errors import Refused, TimedOut, Unavailable
from hive_harness.engine import Command, as_user
from hive_runtime.process import die_with_parent

LINK_S: Final = 30.0
"""How long the program may take until it shows its link."""

CODE_S: Final = 60.0
"""How long it may take to turn a code into credentials."""

MAX_OUTPUT: Final = 16_000

_LINK: Final = re.compile(r"https://[^\s\x00-\x20\x7f\"'<>]{1,2000}")


class Login:
    """One login at a time. `command` is the program that signs in."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._said = ""

    @property
    def waits(self) -> bool:
        """For its code."""
        return self._process is not None and self._process.returncode is None

    async def begin(self) -> str:
        """Start it, in place of an earlier one; its link. Raises `Unavailable` and `TimedOut`."""
        await self.end()
        self._said = ""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._command.cwd,
                env=dict(self._command.env),
                start_new_session=True,
                umask=0o022,
                **as_user(self._command.uid),
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        except OSError as error:
            raise Unavailable(f"the login cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(LINK_S):
                while not (found := _LINK.search(self._said)):
                    if not await self._listen():
                        raise Unavailable(f"the login ended before it showed a link: {self._last_words()}")
        except TimeoutError:
            await self.end()
            raise TimedOut(f"the login showed no link within {LINK_S:g} s; try again") from None
        return found[0]

    async def finish(self, code: str) -> None:
        """Hand the code over; returns when it is signed in. Raises `Refused`, in the program's words, or `TimedOut`."""
        if self._process is None or self._process.stdin is None or not self.waits:
            raise Refused("no login waits for a code; begin it anew, a code is good for its own link only")
        self._said = ""
        with contextlib.suppress(OSError):
            self._process.stdin.write(code.encode() + b"\n")
            await self._process.stdin.drain()
        try:
            async with asyncio.timeout(CODE_S):
                while await self._listen():
                    pass
                status = await self._process.wait()
        except TimeoutError:
            raise TimedOut(f"the login did not end within {CODE_S:g} s; begin it anew") from None
        finally:
            await self.end()
        if status != 0:
            raise Refused(f"the login did not succeed: {self._last_words()}")

    async def end(self) -> None:
        """Leave it off, if there is one. Its whole group goes."""
        if (process := self._process) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
        self._process = None

    async def _listen(self) -> bool:
        """Take up what it says; False at its end."""
        if self._process is None or self._process.stdout is None:
            return False
        said = await self._process.stdout.read(4096)
        self._said = (self._said + said.decode("utf-8", "replace"))[-MAX_OUTPUT:]
        return bool(said)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._said.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"
