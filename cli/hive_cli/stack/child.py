"""A child process that is kept running: own log file, own process group, started again with back-off when it dies.

Its own group, so that Ctrl-C reaches the launcher alone, which then ends its children in order. The kernel ends them
when the launcher dies however it dies. Must be used from the main thread: that death signal is bound to a thread.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_cli.stack.log_file import last_reason, open_log
from hive_contracts.errors import HiveError
from hive_runtime.backoff import Backoff
from hive_runtime.errors import SettingsError
from hive_runtime.process import die_with_parent

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 2.0
"""Short: while a service is away much else waits, and a start that fails costs less than a second of one core."""

STABLE_AFTER_S: Final = 10.0
"""A child that ran so long starts again without delay, however often it died before."""

MAX_EARLY_DEATHS: Final = 4
"""A child that was never useful and died this often will not come up by being started again."""


class ChildFailed(HiveError):
    code = "service_failed"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`environ` is the whole environment. `end_signal`: what asks it to end, also when this process dies."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    end_signal: signal.Signals = signal.SIGTERM


class Child:
    """`report` gets one line when it dies and is started again; `started` gets its name and pid at every start."""

    def __init__(
        self,
        spec: ChildSpec,
        report: Callable[[str], None],
        *,
        started: Callable[[str, int], None] = lambda name, pid: None,
    ) -> None:
        self.spec = spec
        self._started = started
        self.proven = False
        """Set when the whole hive came up with it: from then on it is started again without limit."""
        self._report = report
        self._backoff = Backoff(first_s=FIRST_PAUSE_S, limit_s=LONGEST_PAUSE_S, at_once=True)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        with open_log(self.spec.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=dict(self.spec.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(self.spec.end_signal),
            )
        self._started(self.spec.name, self._process.pid)

    async def keep(self) -> None:
        """Start it unless it runs, and again whenever it dies, until cancelled.

        Raises `SettingsError` when it says that its settings are wrong, `ChildFailed` when it never comes up.
        """
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if self._process is None:
                await self.start()
            status = await self._wait()
            self._process = None
            if loop.time() - started > STABLE_AFTER_S:
                self._backoff.reset()
            await self._died(status)

    async def _wait(self) -> int:
        process = self._process
        return await process.wait() if process else 0

    async def _died(self, status: int) -> None:
        name, reason = self.spec.name, last_reason(self.spec.log)
        if status == os.EX_CONFIG:
            raise SettingsError(reason or f"{name} cannot start; see {self.spec.log}")
        if not self.proven and self._backoff.tries + 1 >= MAX_EARLY_DEATHS:
            raise ChildFailed(f"{name} does not start ({describe(status)}): {reason}; its log is {self.spec.log}")
        wait_s = self._backoff.next_s()
        when = f"in {wait_s:.1f} s" if wait_s else "at once"
        self._report(f"{name} died ({describe(status)}); starting it again {when} (hive logs {name})")
        await asyncio.sleep(wait_s)

    async def stop(self, *, grace_s: float) -> None:
        """Ask it to end, and SIGKILL after `grace_s` seconds, or at once when cancelled. Returns when it is gone."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(self.spec.end_signal)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            self.kill()
            await process.wait()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is None:
            return
        try:
            if number == signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return


def describe(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"
