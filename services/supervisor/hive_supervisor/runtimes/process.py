"""The `process` runtime: each agent a process tree on this machine, in bubblewrap where that runs."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from hive_supervisor.config import Isolation
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import bubblewrap, shim
from hive_supervisor.runtimes.base import ContainerExit, ContainerSpec

HARNESS: Final = ("-m", "hive_harness")
REDIS_PASSWORD: Final = "redis-password"  # noqa: S105 - a file's name
_DEPTH_IN_BUBBLEWRAP: Final = 2

log = structlog.get_logger()


class ProcessRuntime:
    """See `ContainerRuntime`. `agents_dir` holds each agent's folder by name; `program` is what runs in a container."""

    def __init__(
        self, agents_dir: Path, isolation: Isolation, *, program: Sequence[str] = (sys.executable, *HARNESS)
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
        self._agents_dir = agents_dir
        self._program = list(program)
        self._watched: dict[str, tuple[shim.Shim, asyncio.Task[None]]] = {}
        self._exits: asyncio.Queue[ContainerExit] = asyncio.Queue()

    async def start(self, spec: ContainerSpec) -> None:
        if spec.name in await self.running():
            return
        try:
            self._watch(spec.name, self._launch(spec))
        except OSError as error:
            raise CannotStart(f"the container of {spec.name} does not start: {error}") from error

    async def stop(self, name: str, *, grace_s: float) -> None:
        if name not in await self.running():
            return
        running, watcher = self._watched[name]
        running.ask_to_end()
        done, _ = await asyncio.wait({watcher}, timeout=grace_s)
        if not done:
            log.warning("container did not end in time, killed", agent=name)
            running.kill()
            await asyncio.wait({watcher})

    async def running(self) -> set[str]:
        """Also takes up containers that an earlier supervisor left running."""
        for folder in self._agents_dir.glob("*/"):
            if folder.name not in self._watched and (found := shim.find(folder)):
                log.info("container taken up", agent=folder.name, pid=found.pid)
                self._watch(folder.name, found)
        return set(self._watched)

    async def exits(self) -> AsyncIterator[ContainerExit]:
        while True:
            yield await self._exits.get()

    async def aclose(self) -> None:
        for _, watcher in self._watched.values():
            watcher.cancel()

    def _launch(self, spec: ContainerSpec) -> shim.Shim:
        if not self._sandboxed:
            spec = replace(spec, harness_uid=None, harness_dir=None)
        _prepare(spec)
        folder = self._agents_dir / spec.name
        environment = dict(spec.environment)
        program = self._program
        if self._sandboxed:
            socket = bubblewrap.REDIS_SOCKET if spec.redis_socket else None
            environment |= _places(bubblewrap.STATE, bubblewrap.RUN, socket)
            environment |= _apart(spec)
            accounts_dir = folder / "etc"
            bubblewrap.write_accounts(spec, accounts_dir)
            program = bubblewrap.command(spec, program, accounts_dir=accounts_dir)
        else:
            environment |= _places(spec.state_dir, spec.run_dir, spec.redis_socket)
        depth = _DEPTH_IN_BUBBLEWRAP if self._sandboxed else 0
        return shim.start(folder, program, depth=depth, environment=environment, log_file=spec.log_file)

    def _watch(self, name: str, running: shim.Shim) -> None:
        self._watched[name] = (running, asyncio.ensure_future(self._await_exit(name, running)))

    async def _await_exit(self, name: str, running: shim.Shim) -> None:
        began = time.monotonic()
        await _ended(running.pid)
        running.kill()  # what its session may still hold
        shim.reap(running.pid)
        self._watched.pop(name, None)
        status = shim.exit_status(self._agents_dir / name)
        self._exits.put_nowait(ContainerExit(name, status, time.monotonic() - began))


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


def _prepare(spec: ContainerSpec) -> None:
    """The kept directories; and a fresh run directory with the secrets. Nothing in them is opened again."""
    if not spec.state_dir.exists():
        _make_state(spec)
    harness = spec.harness_uid or spec.uid
    if spec.harness_uid:
        spec.state_dir.chmod(0o2770)  # the harness is of the engine's group, and so is what it writes there
    if spec.harness_dir:
        spec.harness_dir.mkdir(mode=0o700, exist_ok=True)
        _give(spec.harness_dir, harness)
    shutil.rmtree(spec.run_dir, ignore_errors=True)
    spec.run_dir.mkdir(mode=0o700)
    for name, content in spec.secrets.items():
        path = spec.run_dir / name
        path.touch(mode=0o600)
        path.write_text(content)
        _give(path, harness)
    _give(spec.run_dir, harness, group=spec.uid)
    spec.run_dir.chmod(0o710)


def _make_state(spec: ContainerSpec) -> None:
    """Whole or absent, whenever this process is killed."""
    fresh = spec.state_dir.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "home").mkdir(parents=True, mode=0o700)
    fresh.chmod(0o700)
    _give(fresh / "home", spec.uid)
    _give(fresh, spec.uid)
    fresh.rename(spec.state_dir)


def _give(path: Path, uid: int | None, *, group: int | None = None) -> None:
    if uid is not None:
        os.chown(path, uid, uid if group is None else group)


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
