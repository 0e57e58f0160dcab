"""An engine: a child process that speaks stream-json, one JSON object a line each way.

It leads a process group of its own, so that all it started ends with it, and the kernel kills it when the harness ends,
however that ends: `PR_SET_PDEATHSIG` is set between fork and exec (`preexec_fn`), because only there is it certain
that no moment is left in which an orphan could start. SIGKILL, since there is nobody left to hear an answer.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from hive_contracts.ids import new_id
from hive_contracts.models import DEFAULT_MODEL
from hive_harness.errors import EngineMissing
from hive_harness.lines import lines
from hive_runtime.process import die_with_parent

CLOSE_S: Final = 2.0
"""How long a closing engine has after the end of its input, and again after SIGTERM."""

MAX_QUEUED: Final = 256
MAX_STDERR_LINE: Final = 16_000

Stream = TypeVar("Stream", asyncio.StreamReader, asyncio.StreamWriter)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `env` is the whole environment. `uid` is the user and its group; None: as this process.

    `secrets`: variable → secret. The engine reads each once, from the file descriptor whose number the variable holds,
    so that it stands in no environment, which all that the engine starts would inherit.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    uid: int | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where the engine finds the harness, which conversation it continues, and with which model."""

    mcp_config: Path
    settings: Path
    session_id: str | None = None
    model: str = DEFAULT_MODEL


class EngineKind(Protocol):
    """One kind of engine: how it is started. All kinds speak the same stream-json."""

    def command(self, attachment: Attachment) -> Command: ...

    def alone(self, model: str) -> Command:
        """An engine for one question: without tools, without a session, without the agent's conversation."""
        ...

    def auth(self, verb: str) -> Command | None:
        """The program that signs the engine in (`login`), or ends with 0 if it is (`status`).

        None where nobody needs to: the engine needs no model, or was given a key.
        """
        ...


class EngineProcess:
    """One running engine. `events` gives its output lines in order, then None when it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, on_stderr: Callable[[str], Awaitable[None]]) -> None:
        self._process = process
        self._on_stderr = on_stderr
        self._events: asyncio.Queue[str | None] = asyncio.Queue(MAX_QUEUED)

    @classmethod
    async def start(cls, command: Command, on_stderr: Callable[[str], Awaitable[None]]) -> "EngineProcess":
        """Raises `EngineMissing`."""
        with _handed_over(command.secrets) as descriptors:
            numbers = {variable: str(descriptor) for variable, descriptor in descriptors.items()}
            try:
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    cwd=command.cwd,
                    env=dict(command.env) | numbers,
                    pass_fds=tuple(descriptors.values()),
                    start_new_session=True,
                    umask=0o022,
                    **as_user(command.uid),
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
            except OSError as error:
                raise EngineMissing(f"cannot start {command.argv[0]}: {error.strerror}") from error
        return cls(process, on_stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def exit_status(self) -> int | None:
        """Negative for the signal that ended it; None while it runs."""
        return self._process.returncode

    async def pump(self) -> None:
        """Move output until the engine ends. Runs beside whoever reads `next_line`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump_output())
            group.create_task(self._pump_stderr())

    async def say(self, texts: Sequence[str]) -> None:
        """Begin a turn with `texts`, one block each. An engine that is gone is noticed by its end of output."""
        content = [{"type": "text", "text": text} for text in texts]
        await self._write({"type": "user", "message": {"role": "user", "content": content}})

    async def interrupt(self) -> None:
        """Ask it to leave its turn off, tools included. It says so by the turn's `result`, within a moment."""
        await self._write({"type": "control_request", "request_id": new_id(), "request": {"subtype": "interrupt"}})

    async def next_line(self) -> str | None:
        line = await self._events.get()
        if line is None:
            self._events.put_nowait(None)  # for whoever asks again
        return line

    def leftovers(self) -> list[str]:
        """Lines that nobody read: an engine speaks between turns when something it left running ends."""
        found = []
        while not self._events.empty():
            line = self._events.get_nowait()
            if line is None:
                self._events.put_nowait(None)
                break
            found.append(line)
        return found

    async def exit_reason(self) -> str:
        """How it ended; waits for that a short while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._process.wait()
        status = self._process.returncode
        if status is None:
            return "its output ended while it ran on"
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    async def close(self, *, working: bool = False, patience_s: float = CLOSE_S) -> None:
        """End of input, then SIGTERM, then SIGKILL to the whole group, `patience_s` apart. Returns when it is gone.

        `working`: it is in a turn, which it would finish first at the end of its input; so SIGTERM comes at once.
        """
        _pipe(self._process.stdin).close()
        if working or not await self._gone_within(patience_s):
            self._signal(signal.SIGTERM)
            await self._gone_within(patience_s)
        self._signal(signal.SIGKILL)  # it, or what it started and left behind
        await self._gone_within(CLOSE_S)
        self._process._transport.close()  # type: ignore[attr-defined]

    def kill(self) -> None:
        """End it and all that it started at once; nobody waits for its end."""
        self._signal(signal.SIGKILL)
        self._process._transport.close()  # type: ignore[attr-defined]

    async def _write(self, document: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            stdin = _pipe(self._process.stdin)
            stdin.write(json.dumps(document).encode() + b"\n")
            await stdin.drain()

    async def _gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _pump_output(self) -> None:
        async for line in lines(_pipe(self._process.stdout)):
            if line.strip():
                await self._events.put(line)
        await self._events.put(None)

    async def _pump_stderr(self) -> None:
        async for line in lines(_pipe(self._process.stderr), limit=MAX_STDERR_LINE):
            if line.strip():
                await self._on_stderr(line)


def as_user(uid: int | None) -> dict[str, Any]:
    """Set between fork and exec, before `preexec_fn`: the kernel forgets the parent-death signal with another user."""
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


@contextlib.contextmanager
def _handed_over(secrets: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Variable → a descriptor from which its secret can be read once; ours are closed at the end."""
    descriptors: dict[str, int] = {}
    try:
        for variable, secret in secrets.items():
            descriptors[variable], write_end = os.pipe()
            os.fchmod(descriptors[variable], 0o444)  # the CLI opens it by its path, and may be another user
            with os.fdopen(write_end, "wb") as file:
                file.write(secret.encode())  # far less than a pipe holds
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _pipe(stream: Stream | None) -> Stream:
    if stream is None:
        raise EngineMissing("the engine was started without a pipe")
    return stream


def decode_event(line: str) -> dict[str, Any] | None:
    """None for a line that is not a JSON object."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
