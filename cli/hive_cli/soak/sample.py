"""What a hive holds at a moment, from memory to stream entries and file sizes; and what of it grew too much."""

from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Final

from hive_cli.chaos.stage import ENGINE, HARNESS, SERVICES, Stage
from hive_contracts import streams
from hive_contracts.names import OPERATOR
from hive_runtime.redis_bus import call, connect

MEMORY_MB: Final = 16.0
HANDLES: Final = 8.0
PROCESSES: Final = 2
ENTRIES: Final = 0.3
"""How much more there may be at the end: memory and file handles of one service, or of a harness or an engine on
average; processes in all; stream entries, as a share of those before and `FEW` more."""

HANDLES_PER_AGENT: Final = 0.5
"""A service's connections go with the agents: a pool keeps as many as were ever used at once."""

STORES_MB: Final = 1.0
STORES_MB_PER_AGENT: Final = 0.1
STORES_MB_PER_MESSAGE: Final = 0.002
"""Stores fill up to what retention leaves of each agent; and they keep each dead letter, and what nobody has read."""

LOG_MB: Final = 8.0
"""The longest that a store's write-ahead log may be, at any time: twice of what is copied at once. It never shrinks."""

FEW: Final = 100
MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Use:
    """Of one process: MB that are resident, and file handles."""

    memory: float
    handles: float


@dataclass(slots=True)
class Sample:
    """`uses`: service, `harness` or `engine` → the average of its processes. Stores in MB; messages sent until then."""

    uses: dict[str, Use] = field(default_factory=dict)
    processes: int = 0
    entries: int = 0
    stores: float = 0.0
    longest_log: float = 0.0
    agents: int = 0
    sent: int = 0


async def take(hive: Stage, agents: list[str], *, sent: int) -> Sample:
    pids = {name: [hive.pid_of(name)] for name in SERVICES}
    pids["harness"] = [hive.pid_in(name, HARNESS) for name in agents]
    pids["engine"] = [hive.pid_in(name, ENGINE) for name in agents]
    uses = {role: use for role, found in pids.items() if (use := _average([pid for pid in found if pid]))}
    return Sample(
        uses,
        processes=len(hive.processes()),
        entries=await _entries(hive),
        stores=sum(_sizes(hive.data.root, "*.sqlite")),
        longest_log=max(_sizes(hive.data.root, "*.sqlite-wal"), default=0.0),
        agents=len(agents),
        sent=sent,
    )


def growth(before: Sample, after: Sample) -> list[str]:
    """A sentence for each thing that grew beyond its limit."""
    found = compared(before, after)
    return [f"{what} grew from {old:.1f} to {new:.1f}" for what, old, new, limit in found if new - old > limit]


def compared(before: Sample, after: Sample) -> Iterator[tuple[str, float, float, float]]:
    """What it is, how much before and after, and by how much it may grow."""
    for role in sorted(before.uses.keys() & after.uses.keys()):
        old, new = before.uses[role], after.uses[role]
        of_all = HANDLES_PER_AGENT * after.agents if role in SERVICES else 0
        yield f"memory of {role}, MB", old.memory, new.memory, MEMORY_MB
        yield f"file handles of {role}", old.handles, new.handles, HANDLES + of_all
    kept = STORES_MB_PER_AGENT * after.agents + STORES_MB_PER_MESSAGE * (after.sent - before.sent)
    yield "processes", before.processes, after.processes, PROCESSES
    yield "stream entries", before.entries, after.entries, ENTRIES * before.entries + FEW
    yield "stores, MB", before.stores, after.stores, STORES_MB + kept
    yield "longest log of a store, MB", before.longest_log, after.longest_log, LOG_MB - before.longest_log


def _average(pids: list[int]) -> Use | None:
    found = [use for pid in pids if (use := _use(pid))]
    return Use(mean(use.memory for use in found), mean(use.handles for use in found)) if found else None


def _use(pid: int) -> Use | None:
    """None for a process that has just ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return Use(kilobytes * 1024 / MB, float(len(list(Path(f"/proc/{pid}/fd").iterdir()))))
    return None


def _sizes(root: Path, name: str) -> Iterator[float]:
    for pattern in (name, f"agents/*/{name}"):
        for path in root.glob(pattern):
            with suppress(FileNotFoundError):
                yield path.stat().st_size / MB


async def _entries(hive: Stage) -> int:
    async with aclosing(connect(hive.redis())) as redis:
        found = [str(key) async for key in redis.scan_iter("hive:*", _type="stream")]
        keys = [key for key in found if key != streams.inbox(OPERATOR)]  # nobody reads it here
        return sum([int(await call(redis.xlen(key))) for key in keys])
