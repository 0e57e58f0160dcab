"""Ending a unit that runs a container, and looking into it: the same for every kind of unit."""

import asyncio
import os
import signal as signals
from typing import Final

import structlog

from hive_contracts.errors import TimedOut
from hive_supervisor.runtimes import process_tree
from hive_supervisor.runtimes.base import Usage
from hive_supervisor.runtimes.systemd_bus import SystemdBus
from hive_supervisor.runtimes.systemd_units import UnitState

KILL_WAIT_S: Final = 30.0

log = structlog.get_logger()


async def stop(bus: SystemdBus, unit: str, *, grace_s: float) -> None:
    """SIGTERM to its main process, which passes it on; after `grace_s` seconds SIGKILL to all. It must run."""
    await bus.kill(unit, signals.SIGTERM, whom="main")
    try:
        async with asyncio.timeout(grace_s):
            await bus.until(unit, _is_over)
    except TimeoutError:
        log.warning("container did not end in time, killed", unit=unit)
        await end(bus, unit)


async def end(bus: SystemdBus, unit: str) -> None:
    """SIGKILL to all of it; returns when it is over. Raises `TimedOut`."""
    await bus.kill(unit, signals.SIGKILL)
    try:
        async with asyncio.timeout(KILL_WAIT_S):
            await bus.until(unit, _is_over)
    except TimeoutError as error:
        raise TimedOut(f"{unit} was killed, but is not gone after {KILL_WAIT_S:.0f} s") from error


async def forget(bus: SystemdBus, unit: str) -> None:
    """Make systemd forget how it ended."""
    await bus.stop(unit)
    await bus.reset_failed(unit)


def process_in(state: UnitState, *, depth: int) -> int | None:
    """The process `depth` steps below the unit's main one, by the first child of each; None while it is not there."""
    pid: int | None = state.main_pid if state.runs else None
    for _ in range(depth):
        pid = process_tree.first_child(pid) if pid else None
    return pid


def send(pid: int | None, signal: int) -> None:
    """Nothing to do when it is gone."""
    if pid is None:
        return
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return


def usage(state: UnitState) -> Usage:
    """By systemd's accounting; by /proc where this machine's cgroups do not count."""
    if not state.runs:
        return Usage()
    if state.memory_bytes is None or state.cpu_ns is None:
        return process_tree.usage(state.main_pid)
    return Usage(state.memory_bytes, state.cpu_ns / 1e9, state.tasks)


def _is_over(state: UnitState) -> bool:
    return not state.runs
