"""From the start of an agent to the turn about its waiting message, per back-end; what an idle agent takes of memory;
and many agents started at once.

A whole hive each, with the scripted engine; Docker with an engine of its own and the image of these sources.
Usage: python -m bench.container_start [--backends process,docker] [--starts N] [--agents N]; `--agents 50` for many.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.built_image import built_image
from tests.support.docker_engine import DockerEngine, docker_engine
from tests.support.hive import Hive, hive
from tests.support.processes import descendants
from tests.support.waiting import wait_until

from hive_supervisor.images.docker import give

ONE = "ada"
PATIENCE_S = 300
TAKEN_UP = {"in_turn", "acked"}
KIB = 1024


@contextmanager
def process_hive() -> Iterator[tuple[Hive, DockerEngine | None]]:
    with hive("--engine", "scripted", "--runtime", "process") as running:
        yield running, None


@contextmanager
def docker_hive() -> Iterator[tuple[Hive, DockerEngine | None]]:
    with docker_engine() as engine:
        environment: Mapping[str, str] = {"DOCKER_HOST": f"unix://{engine.socket}"}
        give(built_image(), environment)
        with hive("--engine", "scripted", "--runtime", "docker", environment=environment) as running:
            yield running, engine


BACK_ENDS = {"process": process_hive, "docker": docker_hive}


def start_s(running: Hive, name: str) -> float:
    """Seconds from the wish that it runs until a turn has taken up what waited for it."""
    message = running.send(name, "measure")
    began = time.monotonic()
    running.api("POST", f"/agents/{name}/start")
    wait_until(lambda: state_of(running, message) in TAKEN_UP, within_s=PATIENCE_S)
    return time.monotonic() - began


def state_of(running: Hive, message: str) -> str:
    return str(running.api("GET", f"/messages/{message}")["message"]["state"])


def stop(running: Hive, name: str) -> None:
    running.cli("stop", name)
    wait_until(lambda: running.api("GET", f"/agents/{name}")["container"] == "stopped", within_s=PATIENCE_S)


def memory_bytes(running: Hive, engine: DockerEngine | None, name: str) -> int:
    """The proportional share of all of a container's processes."""
    if engine:
        container = engine.docker("ps", "-q", "--filter", f"label=org.hyperhive.agent={name}")
        root = int(engine.docker("inspect", "--format", "{{.State.Pid}}", container))
    else:
        root = running.container_pid(name)
    return sum(_share(pid) for pid in descendants(root))


def _share(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:")), 0)


def measure(kind: str, *, starts: int, agents: int) -> None:
    with BACK_ENDS[kind]() as (running, engine):
        running.cli("spawn", ONE)
        alone = []
        for _ in range(starts):
            stop(running, ONE)
            alone.append(start_s(running, ONE))
        idle = memory_bytes(running, engine, ONE)
        names = [f"a{number}" for number in range(agents)]
        for name in names:
            running.cli("spawn", name)
            stop(running, name)
        began = time.monotonic()
        with ThreadPoolExecutor(agents) as pool:
            together = list(pool.map(lambda name: start_s(running, name), names))
        whole = time.monotonic() - began
    print(
        f"{kind}: one agent {statistics.median(alone):.2f} s (worst {max(alone):.2f}), {idle / KIB / KIB:.0f} MiB idle"
    )
    print(f"{kind}: {agents} at once {whole:.2f} s, the median one {statistics.median(together):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default=",".join(BACK_ENDS))
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--agents", type=int, default=4)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for kind in given.backends.split(","):
        measure(kind, starts=given.starts, agents=given.agents)


if __name__ == "__main__":
    main()
