"""`python -m hive_supervisor.doctor`: what each back-end finds and lacks on this machine, as one JSON object.

It starts nothing, changes nothing and asks no hive.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from hive_contracts.errors import HiveError
from hive_runtime import settings
from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.images.store import open_store
from hive_supervisor.runtimes import bubblewrap, cgroups
from hive_supervisor.runtimes.choose import BACK_ENDS, Place, why_not

PROBE_S: Final = 10
BUS_S: Final = 5
_LIMITED: Final = {"memory": "memory", "cpu": "processors", "pids": "processes"}


class State(StrEnum):
    OK = "ok"
    LACKS = "lacks"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`part`: what it is for, a back-end's name or `image`. `fix`: what to do, empty when there is nothing."""

    part: str
    what: str
    state: State
    text: str
    fix: str = ""


def findings(data_dir: Path, config: SupervisorSettings, images: ImageSettings) -> list[Finding]:
    """In the order in which one would mend them."""
    looks: tuple[Callable[[], Finding], ...] = (
        _root,
        _systemd,
        lambda: _bus(config.systemd_bus),
        lambda: _program("nspawn", "systemd-nspawn", "systemd-container"),
        _user_namespaces,
        _cgroups,
        lambda: _program("image", "debootstrap", "debootstrap"),
        lambda: _image(data_dir, images),
        _bubblewrap,
    )
    return [*(look() for look in looks), *_back_ends(Place(data_dir, config, hive_id="doctor"))]


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("all", "user", State.OK, "root")
    text = "not root, so agents cannot have users of their own, and systemd-nspawn and images cannot be used"
    return Finding("all", "user", State.NOTE, text, "start the hive with sudo")


def _systemd() -> Finding:
    if Path("/run/systemd/system").is_dir():
        return Finding("nspawn", "systemd", State.OK, "it runs this machine")
    return Finding("nspawn", "systemd", State.LACKS, "it does not run this machine", "use --runtime docker or process")


def _bus(address: str) -> Finding:
    path = address.partition("unix:path=")[2]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(BUS_S)
        try:
            client.connect(path)
        except OSError as error:
            text = f"nobody answers at {path or address} ({error.strerror or error})"
            return Finding("nspawn", "D-Bus", State.LACKS, text, "apt install dbus; systemctl start dbus")
    return Finding("nspawn", "D-Bus", State.OK, path)


def _program(part: str, program: str, package: str) -> Finding:
    found = shutil.which(program)
    if found:
        return Finding(part, program, State.OK, found)
    return Finding(part, program, State.LACKS, "not installed", f"apt install {package}")


def _user_namespaces() -> Finding:
    """By making one: several switches forbid it."""
    try:
        done = subprocess.run(["unshare", "--user", "true"], capture_output=True, timeout=PROBE_S, check=False)
        reason = done.stderr.decode(errors="replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    if not reason:
        return Finding("nspawn", "user namespaces", State.OK, "they can be made")
    fix = "sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1"
    return Finding("nspawn", "user namespaces", State.LACKS, reason, fix)


def _cgroups() -> Finding:
    """Which limits bite. On the older hierarchies systemd gives units no memory controller that holds them."""
    found = cgroups.controllers()
    missing = [words for name, words in _LIMITED.items() if name not in found]
    if not missing:
        return Finding("nspawn", "cgroups", State.OK, f"version 2 with {', '.join(sorted(found & _LIMITED.keys()))}")
    kind = "version 2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "version 1"
    text = f"{kind}: limits of systemd's units for {', '.join(missing)} do not hold"
    return Finding("nspawn", "cgroups", State.NOTE, text, "boot with systemd.unified_cgroup_hierarchy=1, or use docker")


def _image(data_dir: Path, config: ImageSettings) -> Finding:
    store = open_store(config, data_dir)
    images = store.all()
    if images:
        more = f", and {len(images) - 1} older" if images[1:] else ""
        return Finding("image", "image", State.OK, f"{images[0].version}{more} in {store.directory}")
    return Finding("image", "image", State.LACKS, f"none in {store.directory}", "hive image build")


def _bubblewrap() -> Finding:
    if reason := bubblewrap.why_not():
        return Finding("process", "bubblewrap", State.LACKS, reason, "apt install bubblewrap")
    return Finding("process", "bubblewrap", State.OK, shutil.which("bwrap") or "it runs")


def _back_ends(place: Place) -> Iterator[Finding]:
    """Each back-end's own word."""
    for name in BACK_ENDS:
        reason = why_not(name, place)
        if reason:
            yield Finding(name.value, "runtime", State.LACKS, reason)
        else:
            yield Finding(name.value, "runtime", State.OK, "it can run here")


def verdict(found: list[Finding], wanted: RuntimeChoice) -> str:
    """The runtime that would be taken; empty when it cannot run."""
    able = [one.part for one in found if one.what == "runtime" and one.state is State.OK]
    if wanted is RuntimeChoice.AUTO:
        return able[0] if able else ""
    return wanted.value if wanted.value in able else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runtime", type=RuntimeChoice)
    arguments = parser.parse_args()
    try:
        config = settings.load(SupervisorSettings, "supervisor", data_dir=arguments.data_dir, environ=os.environ)
        images = settings.load(ImageSettings, "images", data_dir=arguments.data_dir, environ=os.environ)
    except HiveError as error:
        answer: dict[str, object] = {"error": str(error), "code": error.code, "status": error.status}
    else:
        found = findings(arguments.data_dir, config, images)
        wanted = arguments.runtime or config.runtime
        taken = verdict(found, wanted)
        answer = {"done": {"wanted": wanted, "runtime": taken, "findings": [asdict(one) for one in found]}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
