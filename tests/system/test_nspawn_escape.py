"""A hostile container under nspawn, tried from inside as its root; and that each try works once what keeps it is off.

`tests/support/hostile.py` is what runs inside. Two layers often stand behind each other: then a try must be refused
with the first of them off, and work with both.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.nspawn_host import agent_root, nspawn_host
from tests.support.systemd_host import SystemdHost
from tests.support.waiting import wait_until

from hive_contracts.ids import new_id
from hive_contracts.models import Network
from hive_supervisor.runtimes import launch, nspawn_unit
from hive_supervisor.runtimes.base import ENGINE_ID, IDS, ContainerSpec
from hive_supervisor.runtimes.systemd_bus import SystemdBus

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PROBE: Final = Path(__file__).parents[1] / "support" / "hostile.py"
BASE: Final = 0x6000_0000
MARK: Final = "/usr/bin/sleep 31536000"
BOUND_S: Final = 60

Words = list[str]


def without(*options: str) -> Callable[[Words], Words]:
    return lambda words: [word for word in words if not word.startswith(options)]


OFF: Final[Mapping[str, Callable[[Words], Words]]] = {
    "own ids": without("--private-users"),
    "no capabilities": lambda words: [*without("--drop-capability")(words), "--capability=all"],
    "own network": without("--private-network"),
    "read-only system": without("--read-only"),
    "own files": lambda words: [*words, "--bind=/:/mnt"],
    "no new privileges": without("--no-new-privileges"),
    "read-only kernel files": lambda words: ["/usr/bin/env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes", *words],
}
"""What protects, and how to switch it off."""

NEEDED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "read a file of the machine's": (("own files",), ("own files", "own ids")),
    "write a file of the machine's": (("own files",), ("own files", "own ids")),
    "read the hive's data": (("own files",), ("own files", "own ids")),
    "read another agent's state": (("own files",), ("own files", "own ids", "no capabilities")),
    "write another agent's state": (("own files",), ("own files", "own ids", "no capabilities")),
    "write the system": (("read-only system",), ("read-only system", "own ids")),
    "load a module": (("own ids",), ("own ids", "no capabilities")),
    "make a device": (("no capabilities",), ("own ids", "no capabilities")),
    "mount": (("own ids",), ("no capabilities",)),
    "see a process of the machine's": ((), ("own files",)),
    "reach the dashboard": ((), ("own network",)),
    "reach docker": (("own files",), ("own files", "own ids")),
    "reach the machine's D-Bus": ((), ("own files",)),
    "set the kernel's core pattern": (("own ids",), ("own ids", "read-only kernel files")),
    "change its name": (("own ids",), ("no capabilities",)),
}
"""For each try: what may be off and it is still refused; and what must be off for it to work."""


@dataclass(frozen=True)
class Place:
    """A host with what a hostile container may be after, and what was found in one, by what was off."""

    host: SystemdHost
    image: Path
    aims: Mapping[str, Any]
    found: Callable[[tuple[str, ...]], dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", cache(lambda off: asyncio.run(self._tried(off))))

    def state_dir(self, off: Sequence[str]) -> Path:
        return self.host.scratch / "-".join(["agent", *off]).replace(" ", "_") / "state"

    async def _tried(self, off: tuple[str, ...]) -> dict[str, Any]:
        folder = self.state_dir(off).parent
        folder.mkdir()
        aims = {**self.aims, "writer": 0 if "own ids" in off else ENGINE_ID}
        spec = ContainerSpec(
            name="eve",
            state_dir=folder / "state",
            run_dir=folder / "run",
            log_file=folder / "log",
            id_base=BASE,
            harness_dir=folder / "harness",
            environment={"TRIES": json.dumps(aims)},
            network=Network.NONE,
        )
        launch.prepare(spec)
        words = nspawn_unit.container(spec, self.image, machine=f"eve{len(off)}")
        for name in off:
            words = OFF[name](words)
        words += ["--", "/usr/bin/python3", "-c", PROBE.read_text()]
        made = nspawn_unit.Made(
            command=tuple(words), image="test", id_base=BASE, log_file=spec.log_file, limits=spec.limits
        )
        await _run_to_its_end(self.host, f"t{new_id()}.service", nspawn_unit.properties("eve", made))
        lines = spec.log_file.read_text().splitlines()
        assert lines, "it printed nothing"
        assert lines[-1].startswith("{"), lines
        return dict(json.loads(lines[-1]))


async def _run_to_its_end(host: SystemdHost, unit: str, properties: Mapping[str, object]) -> None:
    bus = SystemdBus(host.bus_address)
    async with asyncio.timeout(BOUND_S):
        await bus.start_transient(unit, properties)
        await bus.until(unit, lambda state: state.has_ended)
        await bus.stop(unit)
        await bus.reset_failed(unit)
    await bus.aclose()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with nspawn_host() as host:
        image, upper, work = (host.scratch / name for name in ("image", "upper", "work"))
        for folder in (image, upper, work):
            folder.mkdir()
        options = f"lowerdir={agent_root()},upperdir={upper},workdir={work}"
        host.run("mount", "-t", "overlay", "-o", options, "overlay", str(image))
        yield Place(host, image, _aims(host))
        host.run("umount", str(image))


def _aims(host: SystemdHost) -> dict[str, Any]:
    """Put there what a hostile container may be after. /mnt is where it would find the machine's files."""
    other, hive = host.scratch / "lin", host.scratch / "supervisor.sqlite"
    launch.prepare(
        ContainerSpec(
            name="lin", state_dir=other / "state", run_dir=_made(other) / "run", log_file=other, id_base=BASE + IDS
        )
    )
    hive.touch(mode=0o600)
    host.run("sh", "-c", "umask 077; echo secret > /root/secret")
    docker = "import os, socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('/run/docker.sock')\n"
    docker += "os.chmod('/run/docker.sock', 0o660)\ns.listen()\ntime.sleep(10**6)"
    host.run("systemd-run", "--unit=docker-like", "python3", "-c", docker)
    host.run("systemd-run", "--unit=dashboard-like", "python3", "-m", "http.server", "--bind=127.0.0.1", "7000")
    host.run("systemd-run", "--unit=marked", *MARK.split())
    reached = "import socket; socket.create_connection(('127.0.0.1', 7000)).close()"
    for ready in (["test", "-S", "/run/docker.sock"], ["python3", "-c", reached]):
        wait_until(partial(_succeeds, host, ready))
    disk = Path("/").stat().st_dev
    return {
        "secret": "/mnt/root/secret",
        "hive": f"/mnt{hive}",
        "other": f"/mnt{other}/state",
        "disk": [disk >> 8 & 0xFFF, disk & 0xFF],
        "docker": "/mnt/run/docker.sock",
        "bus": "/mnt/run/dbus/system_bus_socket",
        "port": 7000,
        "process": MARK,
    }


def _succeeds(host: SystemdHost, command: Sequence[str]) -> bool:
    return host.run(*command, check=False).returncode == 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_probe_runs_as_root_of_the_container_with_next_to_nothing(place: Place) -> None:
    found = place.found(())
    kill, setgid, setuid, setpcap = (1 << number for number in (5, 6, 7, 8))
    assert found["uid"] == 0
    assert int(found["capabilities"], 16) == kill | setgid | setuid | setpcap
    assert found["no new privileges"] == "1"
    assert found["seccomp"] == "2"
    assert found["open files"] == 4096


@pytest.mark.parametrize("attempt", NEEDED)
def test_root_inside_cannot(place: Place, attempt: str) -> None:
    assert place.found(())[attempt].startswith("refused")


@pytest.mark.parametrize("attempt", NEEDED)
def test_one_layer_may_be_missing_where_there_are_two(place: Place, attempt: str) -> None:
    assert place.found(NEEDED[attempt][0])[attempt].startswith("refused")


@pytest.mark.parametrize("attempt", NEEDED)
def test_without_the_protection_it_can(place: Place, attempt: str) -> None:
    assert place.found(NEEDED[attempt][1])[attempt] == "done"


def test_without_the_option_there_are_new_privileges(place: Place) -> None:
    assert place.found(("no new privileges",))["no new privileges"] == "0"


@pytest.mark.parametrize(
    ("off", "owner"),
    [((), BASE + ENGINE_ID), (("no capabilities",), BASE + ENGINE_ID), (("own ids", "no capabilities"), 0)],
)
def test_a_set_uid_program_left_in_the_state_gives_its_owner_on_the_machine(
    place: Place, off: tuple[str, ...], owner: int
) -> None:
    """An ordinary user; without ids of its own, root."""
    assert place.found(off)["leave a program that runs as its owner"] == "done"
    program = place.state_dir(off) / "id"
    program.parent.chmod(0o755)
    program.parent.parent.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    assert int(place.host.run(*nobody, str(program), "-u").stdout) == owner


def test_a_device_in_the_state_is_one_only_without_ids_of_its_own(place: Place) -> None:
    kept, off = place.state_dir(()), ("own ids", "no capabilities")
    place.found(())
    place.found(off)
    assert not (kept / "disk").exists()
    assert (place.state_dir(off) / "disk").is_block_device()
