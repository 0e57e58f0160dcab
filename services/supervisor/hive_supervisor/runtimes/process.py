"""The `process` runtime: each agent a process tree on this machine, in bubblewrap where that runs."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal as signals
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from hive_contracts.models import Network
from hive_supervisor.config import Isolation
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import bubblewrap, control_groups, launch, process_tree, shim
from hive_supervisor.runtimes.base import (
    Container,
    ContainerExit,
    ContainerRuntime,
    ContainerSpec,
    Executed,
    Usage,
    User,
)
from hive_supervisor.runtimes.executing import run_bounded
from hive_supervisor.runtimes.launch import Launch
from hive_supervisor.runtimes.log_tail import tail

if TYPE_CHECKING:
    from hive_supervisor.runtimes.choose import Place

NAME: Final = "process"
HARNESS: Final = ("-m", "hive_harness")
REDIS_PASSWORD: Final = "redis-password"  # noqa: S105 - a file's name
KILL_WAIT_S: Final = 5.0
"""How long what was killed may take to be gone before its shim is killed too: then nobody sees its status."""

REMOVE_TRIES, REMOVE_PAUSE_S = 25, 0.02
HIVE_ID_LETTERS: Final = 12
_DEPTH_IN_BUBBLEWRAP: Final = 2

log = structlog.get_logger()


def probe(place: "Place") -> str:
    """Nothing keeps it from running; without bubblewrap it warns, unless the settings insist on that."""
    reason = bubblewrap.why_not() if place.config.isolation is Isolation.BUBBLEWRAP else ""
    return f"isolation is set to bubblewrap, but {reason}" if reason else ""


def build(place: "Place") -> ContainerRuntime:
    return ProcessRuntime(
        place.data_dir / "agents", place.config.isolation, group=f"hyperhive-{place.hive_id[-HIVE_ID_LETTERS:]}"
    )


class ProcessRuntime:
    """See `ContainerRuntime`. `agents_dir` holds each agent's folder by name; `program` is what runs in a container.

    `group`: what its control groups' names begin with, where they can be made; empty for none.
    """

    name = NAME

    def __init__(
        self,
        agents_dir: Path,
        isolation: Isolation,
        *,
        program: Sequence[str] = (sys.executable, *HARNESS),
        group: str = "",
    ) -> None:
        reason = "switched off in the settings" if isolation is Isolation.NONE else bubblewrap.why_not()
        if reason and isolation is Isolation.BUBBLEWRAP:
            raise CannotStart(f"isolation is set to bubblewrap, but {reason}")
        self._sandboxed = not reason
        self.isolation = _words(sandboxed=self._sandboxed)
        self.warning = (
            ""
            if self._sandboxed
            else (f"Agents run as plain processes without isolation: {reason}. They can read this user's files.")
        )
        unlimited = control_groups.why_not()
        self._group = group if not unlimited else ""
        if self._sandboxed and unlimited:
            self.isolation += f"; memory and processors are not limited, for {unlimited}"
        self._agents_dir = agents_dir
        self._program = list(program)
        self._watched: dict[str, tuple[shim.Shim, asyncio.Task[None]]] = {}
        self._ends: asyncio.Queue[ContainerExit] = asyncio.Queue()

    async def create(self, spec: ContainerSpec) -> None:
        self._take_up()
        if spec.name in self._watched:
            return
        if spec.network is Network.NONE and not self._sandboxed:
            raise CannotStart(f"{spec.name} is to have no network, which only bubblewrap can take away here")
        try:
            self._create(spec)
        except OSError as error:
            self._forget(spec.name)
            raise CannotStart(f"the container of {spec.name} cannot be made: {error}") from error

    async def start(self, name: str) -> None:
        self._take_up()
        if name in self._watched:
            return
        found = launch.read(self._agents_dir / name)
        if found is None:
            raise CannotStart(f"the container of {name} was not created")
        try:
            self._watch(name, shim.start(self._agents_dir / name, found))
        except OSError as error:
            raise CannotStart(f"the container of {name} does not start: {error}") from error

    async def stop(self, name: str, *, grace_s: float) -> None:
        self._take_up()
        if name not in self._watched:
            return
        running, watcher = self._watched[name]
        running.signal(signals.SIGTERM)
        done, _ = await asyncio.wait({watcher}, timeout=grace_s)
        if not done:
            log.warning("container did not end in time, killed", agent=name)
            await self.kill(name)

    async def kill(self, name: str, signal: int = signals.SIGKILL) -> None:
        self._take_up()
        if name not in self._watched:
            return
        running, watcher = self._watched[name]
        if signal != signals.SIGKILL:
            running.signal(signal)
            return
        running.end()
        done, _ = await asyncio.wait({watcher}, timeout=KILL_WAIT_S)
        if not done:
            running.kill()
            await asyncio.wait({watcher})

    async def remove(self, name: str) -> None:
        await self.kill(name)
        folder = self._agents_dir / name
        await self._leave_group(name)
        shim.forget(folder)
        await asyncio.to_thread(self._forget, name)

    async def list(self) -> dict[str, Container]:
        self._take_up()
        found = {}
        for folder in self._agents_dir.glob("*/"):
            if folder.name in self._watched or launch.read(folder):
                found[folder.name] = self._container(folder)
        return found

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        self._take_up()
        inside = self._watched[name][0].program() if name in self._watched else None
        made = launch.read(self._agents_dir / name)
        if inside is None or made is None:
            raise CannotStart(f"the container of {name} does not run")
        if user is User.ROOT:
            raise CannotStart(f"the {NAME} runtime has no root inside a container")
        uid = made.harness_uid if user is User.HARNESS and made.harness_uid else made.uid
        words = bubblewrap.enter(inside, uid, command) if made.sandboxed else list(command)
        return await run_bounded(words, made.environment, None if made.sandboxed else made.folder, timeout_s)

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        made = launch.read(self._agents_dir / name)
        return tail(made.log_file, lines) if made else ()

    async def watch(self) -> AsyncIterator[ContainerExit]:
        while True:
            yield await self._ends.get()

    async def usage(self, name: str) -> Usage:
        self._take_up()
        return process_tree.usage(self._watched[name][0].pid) if name in self._watched else Usage()

    async def aclose(self) -> None:
        for _, watcher in self._watched.values():
            watcher.cancel()

    def _create(self, spec: ContainerSpec) -> None:
        if not self._sandboxed:
            spec = replace(spec, id_base=None, harness_dir=None)
        launch.prepare(spec)
        folder = self._agents_dir / spec.name
        program = [*_limited(spec), *self._program]
        environment = dict(spec.environment)
        if self._sandboxed:
            socket = bubblewrap.REDIS_SOCKET if spec.redis_socket else None
            environment |= _places(bubblewrap.STATE, bubblewrap.RUN, socket)
            environment |= _apart(spec)
            accounts_dir = folder / "etc"
            bubblewrap.write_accounts(spec, accounts_dir)
            program = bubblewrap.command(spec, program, accounts_dir=accounts_dir)
        else:
            environment |= _places(spec.state_dir, spec.run_dir, spec.redis_socket)
        made = Launch(
            command=tuple(program),
            environment=environment,
            log_file=spec.log_file,
            folder=spec.state_dir,
            sandboxed=self._sandboxed,
            depth=_DEPTH_IN_BUBBLEWRAP if self._sandboxed else 0,
            group=f"{self._group}-{spec.name}" if self._group else "",
            limits=spec.limits,
            uid=spec.uid,
            harness_uid=spec.harness_uid,
        )
        launch.write(folder, made)

    def _forget(self, name: str) -> None:
        """What `create` made, whole or not."""
        folder = self._agents_dir / name
        with contextlib.suppress(OSError):
            launch.forget(folder)
        launch.discard(folder, "etc", "run", "state.new")

    def _container(self, folder: Path) -> Container:
        name, began = folder.name, shim.since(folder)
        since = datetime.fromtimestamp(began, UTC) if began else None
        if name in self._watched:
            return Container(name, running=True, since=since)
        return Container(name, running=False, since=since, exit=_exit(folder) if began else None)

    def _take_up(self) -> None:
        """Watch the containers that an earlier supervisor left running."""
        for folder in self._agents_dir.glob("*/"):
            if folder.name not in self._watched and (found := shim.find(folder)):
                log.info("container taken up", agent=folder.name, pid=found.pid)
                self._watch(folder.name, found)

    def _watch(self, name: str, running: shim.Shim) -> None:
        self._watched[name] = (running, asyncio.ensure_future(self._await_exit(name, running)))

    async def _await_exit(self, name: str, running: shim.Shim) -> None:
        await _ended(running.pid)
        running.kill()  # what its session may still hold
        shim.reap(running.pid)
        end = _exit(self._agents_dir / name)
        await self._leave_group(name)  # before the next start makes it again
        self._watched.pop(name, None)
        self._ends.put_nowait(end)

    async def _leave_group(self, name: str) -> None:
        made = launch.read(self._agents_dir / name)
        if made and made.group:
            await _until_removed(made.group)


def _exit(folder: Path) -> ContainerExit:
    status, made = shim.exit_status(folder), launch.read(folder)
    killed = status in (None, 128 + signals.SIGKILL)
    oom = killed and made is not None and control_groups.ran_out_of_memory(made.group)
    return ContainerExit(folder.name, status, shim.uptime_s(folder), oom=oom)


def _words(*, sandboxed: bool) -> str:
    if not sandboxed or os.geteuid() == 0:
        return "bubblewrap" if sandboxed else "none"
    return "bubblewrap; harness and engine are one user, which only root can part"


def _places(state_dir: Path, run_dir: Path, redis_socket: Path | None) -> dict[str, str]:
    """Where the harness finds things, as it sees them."""
    found = {"HIVE_STATE_DIR": str(state_dir), "HIVE_RUN_DIR": str(run_dir)}
    found["HIVE_REDIS_PASSWORD_FILE"] = str(run_dir / REDIS_PASSWORD)
    return found | ({"HIVE_REDIS_URL": f"unix://{redis_socket}"} if redis_socket else {})


def _apart(spec: ContainerSpec) -> dict[str, str]:
    """Where the harness keeps its own, and as whom it starts the engine."""
    found = {"HIVE_HARNESS_DIR": str(bubblewrap.HARNESS)} if spec.harness_dir else {}
    return found | ({"HIVE_ENGINE_UID": str(spec.uid)} if spec.harness_uid else {})


def _limited(spec: ContainerSpec) -> list[str]:
    """Open files; and processes, which are counted by user, so only where the agent has users of its own."""
    if shutil.which("prlimit") is None:
        return []
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = min(spec.limits.open_files, most) if most != resource.RLIM_INFINITY else spec.limits.open_files
    pids = [f"--nproc={spec.limits.pids}"] if spec.uid is not None else []
    return ["prlimit", f"--nofile={files}", *pids, "--"]


async def _until_removed(group: str) -> None:
    """What was killed may still be on its way out of it."""
    for _ in range(REMOVE_TRIES):
        if control_groups.remove(group):
            return
        await asyncio.sleep(REMOVE_PAUSE_S)
    log.warning("control group stays, for something is left in it", group=group)


async def _ended(pid: int) -> None:
    """Returns when the process is no more, whoever its parent is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
