"""What each back-end finds and lacks on this machine. Nothing is started, nothing changed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_runtime.checkup import Finding, State
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.images.store import open_store
from hive_supervisor.runtimes import bubblewrap, cgroups, control_groups
from hive_supervisor.runtimes.choose import BACK_ENDS, Place, why_not

PROBE_S: Final = 10
BUS_S: Final = 5
RUNTIME: Final = "runtime"
"""What the findings of back-ends are about."""

_LIMITED: Final = {"memory": "memory", "cpu": "processors", "pids": "processes"}


def user(_: Site) -> Iterator[Finding]:
    yield _root()


def nspawn(site: Site) -> Iterator[Finding]:
    yield _systemd()
    yield _bus(site.config.systemd_bus)
    yield _program("nspawn", "systemd-nspawn", "systemd-container")
    yield _user_namespaces()


def limits(_: Site) -> Iterator[Finding]:
    yield _cgroups()


def image(site: Site) -> Iterator[Finding]:
    yield _program("image", "debootstrap", "debootstrap")
    yield _image(site.data_dir, site.images)


def sandbox(_: Site) -> Iterator[Finding]:
    yield _bubblewrap()
    yield _control_groups()


def back_ends(site: Site) -> Iterator[Finding]:
    """Each back-end's own word."""
    for name in BACK_ENDS:
        reason = why_not(name, Place(site.data_dir, site.config, hive_id="doctor"))
        if reason:
            yield Finding(name.value, RUNTIME, State.LACKS, reason)
        else:
            yield Finding(name.value, RUNTIME, State.OK, "it can run here")


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
    if shutil.which("unshare") is None:
        return _program("nspawn", "unshare", "util-linux")
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


def _control_groups() -> Finding:
    """Whether the process runtime can hold agents to memory and processors: it makes groups of its own."""
    if reason := control_groups.why_not():
        text = f"memory and processors of agents are not limited: {reason}"
        return Finding("process", "limits", State.NOTE, text, "start the hive as root, where cgroups are writable")
    return Finding("process", "limits", State.OK, "memory, processors and processes are held by control groups")


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
