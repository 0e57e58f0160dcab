"""From a container's spec to one systemd unit that runs it under systemd-nspawn. No D-Bus.

The system is the image, read-only, and of nobody's in the container's user namespace: even its root owns no file of it.
What the agent may write is its /state, /tmp and /var/tmp. The harness is user 1001 with what it needs to start and to
end an engine as user 1000, as in bubblewrap; root, who is process 1, has no more than that.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from hive_contracts.models import Network
from hive_supervisor.runtimes import bubblewrap
from hive_supervisor.runtimes.base import ENGINE_ID, HARNESS_ID, IDS, REBOOT, ContainerSpec, Limits
from hive_supervisor.runtimes.first_process import script

STATE: Final = bubblewrap.STATE
RUN: Final = bubblewrap.RUN
HARNESS: Final = bubblewrap.HARNESS
REDIS: Final = bubblewrap.REDIS_SOCKET.parent
MOUNT_POINTS: Final = (STATE, HARNESS, Path("/var/tmp"))  # noqa: S108 - the container's own
"""What an image must have: it is read-only when things are mounted in it. /run and /tmp are new in each container."""

CLAUDE: Final = "/usr/local/bin/claude"
STOP_TIMEOUT_S: Final = 20

_FILE: Final = "unit.json"
_DROPPED: Final = (
    "AUDIT_CONTROL,AUDIT_WRITE,CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,FOWNER,FSETID,IPC_OWNER,LEASE,LINUX_IMMUTABLE,MKNOD,"
    "NET_ADMIN,NET_BIND_SERVICE,NET_BROADCAST,NET_RAW,SETFCAP,SYS_ADMIN,SYS_BOOT,SYS_CHROOT,SYS_NICE,SYS_PTRACE,"
    "SYS_RESOURCE,SYS_TTY_CONFIG"
)
"""All that nspawn gives but KILL, SETGID and SETUID, and SETPCAP, which the harness loses before it starts."""

REBOOT_INSIDE: Final = 253
"""Stands for `REBOOT`, which nspawn keeps to itself and would turn into 1."""

_INIT: Final = script(f'[ "$status" = {REBOOT} ] && status={REBOOT_INSIDE}; exit "$status"')
"""nspawn's own (`--as-pid2`) hides the signal, and cannot stop where it has not the capability to reboot."""


class Made(BaseModel):
    """What `create` leaves for `start`. `image`: its version."""

    model_config = ConfigDict(frozen=True)

    command: tuple[str, ...]
    image: str
    id_base: int
    log_file: Path
    limits: Limits


def write(folder: Path, made: Made) -> None:
    """Whole or not at all; readable by the supervisor alone."""
    partial = (folder / _FILE).with_suffix(".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made.model_dump_json())
    partial.replace(folder / _FILE)


def read(folder: Path) -> Made | None:
    """None when nothing was created in `folder`."""
    try:
        return Made.model_validate_json((folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return None


def forget(folder: Path) -> None:
    for name in (_FILE, Path(_FILE).with_suffix(".new").name):
        (folder / name).unlink(missing_ok=True)


def command(spec: ContainerSpec, root: Path, program: Sequence[str], *, machine: str) -> list[str]:
    """`program`, as the harness, in a container of the image at `root`. `spec.id_base` must be set."""
    harness = [*bubblewrap.as_user(ENGINE_ID, HARNESS_ID), "env", f"--chdir={STATE}", *program]
    return [*container(spec, root, machine=machine), "--", "/bin/sh", "-c", _INIT, "init", *harness]


def container(spec: ContainerSpec, root: Path, *, machine: str) -> list[str]:
    """systemd-nspawn with all its options, one word each."""
    binds = [(spec.state_dir, STATE), (spec.run_dir, RUN)]
    if spec.harness_dir:
        binds.append((spec.harness_dir, HARNESS))
    return [
        shutil.which("systemd-nspawn") or "systemd-nspawn",
        "--quiet",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--console=pipe",
        "--timezone=off",
        "--kill-signal=SIGTERM",
        f"--machine={machine}",
        f"--hostname={spec.name}",
        f"--directory={root}",
        "--read-only",
        "--tmpfs=/var/tmp:mode=1777,nosuid,nodev",
        f"--private-users={spec.id_base}:{IDS}",
        "--private-users-ownership=off",
        "--no-new-privileges=yes",
        f"--drop-capability={_capabilities()}",
        f"--rlimit=NOFILE={spec.limits.open_files}",
        *_network(spec.network),
        *(f"--bind={_escaped(outside)}:{inside}" for outside, inside in binds),
        *([f"--bind-ro={_escaped(spec.redis_socket.parent)}:{REDIS}"] if spec.redis_socket else []),
        *(f"--setenv={name}={value}" for name, value in environment(spec).items()),
    ]


def properties(name: str, made: Made) -> Mapping[str, object]:
    """Of the transient unit. It stays after its end, until the next start, so that its exit status can be read.

    So it is not of the type `notify`: nspawn would tell systemd that it is stopping, and what stops does not stay.
    """
    limits = made.limits
    return {
        "Description": f"hyperhive agent {name}",
        "Type": "exec",
        "ExecStartEx": [[made.command[0], list(made.command), ["no-env-expand"]]],
        "Slice": "machine.slice",
        "Delegate": True,
        "KillMode": "mixed",
        "RemainAfterExit": True,
        "OOMPolicy": "stop",
        "DevicePolicy": "closed",
        "DeviceAllow": [["char-pts", "rw"]],
        "StandardInput": "null",
        "StandardOutputFileToAppend": str(made.log_file),
        "StandardErrorFileToAppend": str(made.log_file),
        "TimeoutStopUSec": STOP_TIMEOUT_S * 1_000_000,
        "MemoryMax": limits.memory_bytes,
        "MemorySwapMax": 0,
        "CPUQuotaPerSecUSec": round(limits.cpus * 1_000_000),
        "TasksMax": limits.pids,
        "CPUAccounting": True,
    }


def environment(spec: ContainerSpec, claude: str = CLAUDE) -> dict[str, str]:
    """The harness' variables, with the paths inside. `claude`: where the program is there."""
    own = {
        "HIVE_STATE_DIR": str(STATE),
        "HIVE_RUN_DIR": str(RUN),
        "HIVE_SECRETS_DIR": str(RUN),
        "HIVE_REDIS_PASSWORD_FILE": str(RUN / "redis-password"),
        "HIVE_ENGINE_UID": str(ENGINE_ID),
    }
    if spec.harness_dir:
        own["HIVE_HARNESS_DIR"] = str(HARNESS)
    if spec.redis_socket:
        own["HIVE_REDIS_URL"] = f"unix://{REDIS / spec.redis_socket.name}"
    if "HIVE_CLAUDE" in spec.environment:
        own["HIVE_CLAUDE"] = claude
    return {**spec.environment, **own}


def _capabilities() -> str:
    return ",".join(f"CAP_{name}" for name in _DROPPED.split(","))


def _network(network: Network) -> list[str]:
    if network is Network.NONE:
        return ["--private-network", "--resolv-conf=off"]
    return ["--resolv-conf=bind-host"]


def _escaped(path: Path) -> str:
    """In nspawn's words a colon parts a source from its place."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")
