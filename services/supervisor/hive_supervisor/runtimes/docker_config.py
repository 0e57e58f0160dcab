"""From a container's spec to what the Docker Engine API is asked to create.

The image is read-only, and of the machine's files the container gets its agent's own and the folder of Redis' socket.
Its first process becomes the harness's user at once; nothing in it runs as root after that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hive_supervisor.runtimes.base import ContainerSpec, Limits, User
from hive_supervisor.runtimes.bubblewrap import ACCOUNT_FILES, HARNESS, REDIS_SOCKET, RUN, STATE
from hive_supervisor.runtimes.docker_host import outside
from hive_supervisor.runtimes.first_process import script
from hive_supervisor.runtimes.process import REDIS_PASSWORD

HIVE: Final = "org.hyperhive.hive"
AGENT: Final = "org.hyperhive.agent"
SPEC: Final = "org.hyperhive.spec"
LOG: Final = "org.hyperhive.log"
USERS: Final = "org.hyperhive.users"
"""Labels: whose a container is, which agent's, what it was made from, where its log is, engine's and harness's id."""

PROGRAM: Final = ("/opt/hive/bin/python", "-m", "hive_harness")
CLAUDE: Final = "/usr/local/bin/claude"
LOG_FILE: Final = Path("/run/hive-log")
TMP_BYTES: Final = 1024**3
"""The most that /tmp holds; it counts as the container's memory."""

ENGINE_LOG_BYTES: Final = 1024**2
"""What the engine itself keeps of what a container prints: only what goes wrong before its log file is open."""

_CAPABILITIES: Final = ("SETUID", "SETGID", "KILL")
"""What a harness needs to start and to end an engine as another user."""

_TO_LIMIT: Final = "SETPCAP"
"""What the first process needs to give up all others for good."""

_ENTRY: Final = f'exec >>{LOG_FILE} 2>&1; exec "$@"'


@dataclass(frozen=True, slots=True)
class Users:
    """Ids inside the container; None where the supervisor is an ordinary user, whose id both have then."""

    engine: int
    harness: int | None = None

    @property
    def first(self) -> str:
        """As whom the first process starts: root, to become the harness, or the one that there is."""
        return f"{self.engine}:{self.engine}" if self.harness is None else "0:0"

    @property
    def words(self) -> str:
        return str(self.engine) if self.harness is None else f"{self.engine},{self.harness}"

    @classmethod
    def of(cls, words: str) -> "Users":
        return cls(*(int(word) for word in words.split(",")))

    def words_of(self, user: User) -> str:
        """As the engine wants it: `uid:gid`."""
        found = {User.ENGINE: self.engine, User.HARNESS: self.harness or self.engine, User.ROOT: 0}[user]
        return f"{found}:{found}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A container to be made. `spec` holds ids as they are inside, `network` is the engine's name of one.
    `mounts` are those of the container that the supervisor is in."""

    spec: ContainerSpec
    users: Users
    image: str
    network: str
    accounts_dir: Path
    program: Sequence[str] = PROGRAM
    mounts: Mapping[Path, Path] = field(default_factory=lambda: MappingProxyType({}))

    def config(self, labels: Mapping[str, str]) -> dict[str, object]:
        """The body of a `create`."""
        config: dict[str, object] = {
            "Image": self.image,
            "Hostname": self.spec.name[:63],
            "User": self.users.first,
            "Entrypoint": ["/bin/sh", "-c", _ENTRY, "hive"],
            "Cmd": [*_become(self.users), "/bin/sh", "-c", script(), "hive", *self.program],
            "Env": [f"{name}={value}" for name, value in sorted(_environment(self.spec, self.users).items())],
            "WorkingDir": str(STATE),
            "HostConfig": self._host_config(),
        }
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return {**config, "Labels": {**labels, SPEC: digest}}

    def is_of(self, labels: Mapping[str, str]) -> bool:
        """Whether a container with these labels was made from the same."""
        made = self.config({})["Labels"]
        return isinstance(made, dict) and made[SPEC] == labels.get(SPEC)

    def _host_config(self) -> dict[str, object]:
        limits = self.spec.limits
        return {
            "Mounts": [_outside(bind, self.mounts) for bind in _mounts(self.spec, self.accounts_dir)],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={TMP_BYTES}"},  # noqa: S108 - its own
            "CapDrop": ["ALL"],
            "CapAdd": [] if self.users.harness is None else [*_CAPABILITIES, _TO_LIMIT],
            "SecurityOpt": ["no-new-privileges"],
            "NetworkMode": self.network,
            "Memory": limits.memory_bytes,
            "MemorySwap": limits.memory_bytes,
            "NanoCpus": int(limits.cpus * 1e9),
            "PidsLimit": limits.pids,
            "Ulimits": _ulimits(limits, apart=self.users.harness is not None),
            "IpcMode": "private",
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": str(ENGINE_LOG_BYTES), "max-file": "1"}},
        }


def _mounts(spec: ContainerSpec, accounts_dir: Path) -> list[dict[str, object]]:
    """A bind of what is not there is refused by the engine, rather than made by it."""
    found = [
        _bind(spec.state_dir, STATE),
        _bind(spec.run_dir, RUN),
        _bind(spec.log_file, LOG_FILE),
        *(_bind(accounts_dir / name, Path("/etc", name), read_only=True) for name in ACCOUNT_FILES),
    ]
    if spec.harness_dir:
        found.append(_bind(spec.harness_dir, HARNESS))
    if spec.redis_socket:
        found.append(_bind(spec.redis_socket.parent, REDIS_SOCKET.parent, read_only=True))
    return found


def _outside(bind: Mapping[str, object], mounts: Mapping[Path, Path]) -> dict[str, object]:
    return {**bind, "Source": str(outside(Path(str(bind["Source"])), mounts))}


def _ulimits(limits: Limits, *, apart: bool) -> list[dict[str, object]]:
    """Processes are counted by user, so only where the agent has users of its own."""
    wanted = {"nofile": limits.open_files} | ({"nproc": limits.pids} if apart else {})
    return [{"Name": name, "Soft": most, "Hard": most} for name, most in wanted.items()]


def _bind(source: Path, target: Path, *, read_only: bool = False) -> dict[str, object]:
    return {"Type": "bind", "Source": str(source), "Target": str(target), "ReadOnly": read_only}


def _become(users: Users) -> list[str]:
    """The harness is of the engine's group, so that it can enter the agent's /state."""
    if users.harness is None:
        return []
    kept = "-all" + "".join(f",+{name.lower()}" for name in _CAPABILITIES)
    # fmt: off
    return [
        "setpriv", "--reuid", str(users.harness), "--regid", str(users.harness), "--groups", str(users.engine),
        "--no-new-privs", f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}", "--",
    ]
    # fmt: on


def _environment(spec: ContainerSpec, users: Users) -> dict[str, str]:
    """Where the harness finds things, as it sees them, and as whom it starts the engine."""
    found = dict(spec.environment)
    found |= {"HIVE_STATE_DIR": str(STATE), "HIVE_RUN_DIR": str(RUN)}
    found["HIVE_REDIS_PASSWORD_FILE"] = str(RUN / REDIS_PASSWORD)
    if spec.redis_socket:
        found["HIVE_REDIS_URL"] = f"unix://{REDIS_SOCKET}"
    if spec.harness_dir:
        found["HIVE_HARNESS_DIR"] = str(HARNESS)
    if users.harness is not None:
        found["HIVE_ENGINE_UID"] = str(users.engine)
    if "HIVE_CLAUDE" in found:
        found["HIVE_CLAUDE"] = CLAUDE
    return found
