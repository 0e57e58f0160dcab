"""From an agent's start to the turn about its waiting message, per back-end; what an idle one takes of memory;
how soon a crash is told; and many agents started at once.

A whole hive each, with the scripted engine; nspawn on a systemd host booted for it, Docker with an engine of its own,
both with the image of these sources. As root.
Usage: python -m bench.container_start [--backends process,nspawn,docker] [--starts N] [--agents N]
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.built_image import built_image
from tests.support.docker_engine import DockerEngine, docker_engine
from tests.support.hive import Hive, hive
from tests.support.processes import descendants
from tests.support.systemd_host import ROOT, systemd_host
from tests.support.waiting import wait_until

from hive_supervisor.images.docker import give

ONE = "ada"
PATIENCE_S = 300
CRASH_S = 60
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


@contextmanager
def nspawn_hive() -> Iterator[tuple[Hive, DockerEngine | None]]:
    """On a machine that systemd runs: see `within_a_host`."""
    with hive("--engine", "scripted", "--runtime", "nspawn") as running:
        yield running, None


BACK_ENDS = {"process": process_hive, "docker": docker_hive, "nspawn-here": nspawn_hive}
ALL = ("process", "nspawn", "docker")


def within_a_host(arguments: list[str]) -> None:
    """This program once more, on a systemd host that has the image."""
    images = built_image().root.parents[1]
    with systemd_host(f"--bind-ro={images}") as host:
        surroundings = [f"HIVE_IMAGES_DIR={images}", "PYTHONDONTWRITEBYTECODE=1", f"TMPDIR={host.scratch}"]
        words = [sys.executable, "-m", "bench.container_start", "--backends", "nspawn-here", *arguments]
        entered = ["nsenter", "--target=1", "--cgroup", "env", f"--chdir={ROOT}", *surroundings]
        print(host.run(*entered, *words, timeout_s=PATIENCE_S * 4).stdout.partition("\n")[2], end="")


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
    return sum(_share(pid) for pid in descendants(root_of(running, engine, name)))


def root_of(running: Hive, engine: DockerEngine | None, name: str) -> int:
    """The first process of its container."""
    if engine:
        container = engine.docker("ps", "-q", "--filter", f"label=org.hyperhive.agent={name}")
        return int(engine.docker("inspect", "--format", "{{.State.Pid}}", container))
    if (running.data_dir / "agents" / name / "unit.json").exists():
        shown = ["systemctl", "show", "--value", "--property=MainPID", f"hive-*-{name}.service"]
        return int(subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()[0])
    return running.container_pid(name)


def crash_told_s(running: Hive, engine: DockerEngine | None, name: str) -> tuple[float, float]:
    """Seconds from the end of its container until the registry, and the manager's inbox, know."""
    before = running.api("GET", f"/agents/{name}")["restarts"]
    root = root_of(running, engine, name)
    began = time.monotonic()
    os.kill(root, signal.SIGKILL)
    wait_until(lambda: running.api("GET", f"/agents/{name}")["restarts"] > before, within_s=CRASH_S)
    seen = time.monotonic() - began
    wait_until(lambda: any(name in one["body"] for one in told(running)), within_s=CRASH_S)
    return seen, time.monotonic() - began


def told(running: Hive) -> list[dict[str, str]]:
    messages = running.api("GET", "/agents/hm1nd/inbox", params={"limit": 50})["messages"]
    return [message for message in messages if message["sender"] == "system"]


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
        seen, posted = crash_told_s(running, engine, ONE)
        names = [f"a{number}" for number in range(agents)]
        for name in names:
            running.cli("spawn", name)
            stop(running, name)
        began = time.monotonic()
        with ThreadPoolExecutor(agents) as pool:
            together = list(pool.map(lambda name: start_s(running, name), names))
        whole = time.monotonic() - began
    kind = kind.removesuffix("-here")
    print(f"{kind}: a crash is seen after {seen:.2f} s, and in the manager's inbox after {posted:.2f} s")
    print(
        f"{kind}: one agent {statistics.median(alone):.2f} s (worst {max(alone):.2f}), {idle / KIB / KIB:.0f} MiB idle"
    )
    print(f"{kind}: {agents} at once {whole:.2f} s, the median one {statistics.median(together):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default=",".join(ALL))
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--agents", type=int, default=4)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for kind in given.backends.split(","):
        if kind == "nspawn":
            within_a_host(["--starts", str(given.starts), "--agents", str(given.agents)])
        else:
            measure(kind, starts=given.starts, agents=given.agents)


if __name__ == "__main__":
    main()
