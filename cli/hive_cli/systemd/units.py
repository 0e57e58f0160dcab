"""The text of each unit. Pure: what is written follows from a `Layout` alone.

Only the supervisor is root. `hyperhive.target` is the whole hive; restarting the supervisor alone leaves the agents at
work, and stopping the target ends them: that is what `hyperhive-agents.service` is for, which stops before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Options = Mapping[str, str | tuple[str, ...]]
Sections = Mapping[str, Options]

TARGET: Final = "hyperhive.target"
ENVIRONMENT: Final = Path("/etc/hyperhive/environment")
SETTINGS_ARE_WRONG: Final = "78"

HARDENED: Final[Options] = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectSystem": "strict",
    "RestrictRealtime": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0007",
}
CONFINED: Final[Options] = {
    "CapabilityBoundingSet": "",
    "KeyringMode": "private",
    "MemoryDenyWriteExecute": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProcSubset": "pid",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "RemoveIPC": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": ("@system-service", "~@privileged"),
}
"""What an ordinary service has beside that."""

SUPERVISORS: Final = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_ADMIN CAP_SETFCAP "
    "CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_RESOURCE"
)
"""What it takes to make containers, and to give each the files of a user of its own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`python` is the interpreter that has hyperhive; `redis` the embedded server's binary, None for one of your own,
    whose URL is then in `redis_url`. `home_is_read`: hyperhive lies in somebody's home; `in_tmp`: its folders below a
    /tmp, of which units have one of their own."""

    data_dir: Path
    user: str
    python: Path
    redis: Path | None
    redis_url: str = ""
    home_is_read: bool = False
    in_tmp: tuple[str, ...] = ()

    @property
    def prepare(self) -> str:
        redis = f" --redis {quoted(self.redis_url)}" if self.redis_url else ""
        return f"{self.hive} prepare --manager systemd --user {self.user}{redis}"

    @property
    def hive(self) -> str:
        return f"{quoted(str(self.python))} -m hive_cli --data-dir {quoted(str(self.data_dir))}"


def quoted(word: str) -> str:
    """As systemd reads a command line: `%` begins a specifier, `$` a variable."""
    plain = word.replace("%", "%%").replace("$", "$$")
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(plain) & set(" \t\"'\\;") else plain


def all_units(layout: Layout) -> dict[str, str]:
    """File name → text."""
    found = {
        TARGET: _target(),
        "hyperhive-prepare.service": _prepare(layout),
        "hyperhive-broker.service": _service(layout, "broker", _confined(layout, network=False)),
        "hyperhive-dashboard.service": _service(layout, "dashboard", _confined(layout, network=True)),
        "hyperhive-supervisor.service": _service(layout, "supervisor", _supervisor(layout)),
        "hyperhive-agents.service": _agents(),
    }
    if layout.redis:
        found["hyperhive-redis.service"] = _redis(layout, layout.redis)
    return {name: _text(sections) for name, sections in found.items()}


def _target() -> Sections:
    services = ("redis", "broker", "supervisor", "dashboard", "agents")
    return {
        "Unit": {
            "Description": "A hive of coding agents",
            "Wants": " ".join(f"hyperhive-{name}.service" for name in services),
        },
        "Install": {"WantedBy": "multi-user.target"},
    }


def _unit(description: str, *, after: str, needs: str = "hyperhive-prepare.service") -> Options:
    return {"Description": description, "PartOf": TARGET, "Requires": needs, "After": f"{needs} {after}".strip()}


def _prepare(layout: Layout) -> Sections:
    return {
        "Unit": {"Description": "What a hive needs before it starts", "PartOf": TARGET, "After": "network.target"},
        "Service": {
            "Type": "oneshot",
            "RemainAfterExit": "yes",
            "EnvironmentFile": f"-{ENVIRONMENT}",
            "ExecStart": layout.prepare,
            **HARDENED,
            **_home(layout),
            "CapabilityBoundingSet": "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_SETGID CAP_SETUID",
            "PrivateDevices": "yes",
            "ProtectControlGroups": "yes",
            "ProtectHostname": "yes",
            "ProtectKernelTunables": "yes",
            "ReadWritePaths": _written(layout),
            "RestrictNamespaces": "yes",
        },
    }


def _redis(layout: Layout, binary: Path) -> Sections:
    return {
        "Unit": _unit("The hive's Redis", after=""),
        "Service": {
            "Type": "exec",
            "ExecStart": f"{quoted(str(binary))} {quoted(str(layout.data_dir / 'redis' / 'valkey.conf'))}",
            "Restart": "always",
            "RestartSec": "1",
            "TimeoutStopSec": "30",
            "LimitNOFILE": "65536",
            **_confined(layout, network=False),
        },
    }


def _service(layout: Layout, name: str, hardening: Options) -> Sections:
    redis = "hyperhive-redis.service" if layout.redis else "network-online.target"
    return {
        "Unit": _unit(f"The hive's {name}", after=redis),
        "Service": {
            "Type": "exec",
            "EnvironmentFile": str(layout.data_dir / "run" / "services" / f"{name}.env"),
            "ExecStart": f"{quoted(str(layout.python))} -m hive_{name}",
            "Restart": "always",
            "RestartSec": "1",
            "RestartPreventExitStatus": SETTINGS_ARE_WRONG,
            "TimeoutStopSec": "20",
            "LimitNOFILE": "65536",
            **hardening,
        },
    }


def _confined(layout: Layout, *, network: bool) -> Options:
    """Without a network of its own where Redis is a socket, and nothing else is to be reached."""
    families = "AF_UNIX AF_INET AF_INET6" if network or not layout.redis else "AF_UNIX"
    return {
        "User": layout.user,
        "Group": layout.user,
        **HARDENED,
        **CONFINED,
        **_home(layout),
        **({} if network or not layout.redis else {"PrivateNetwork": "yes"}),
        "ReadWritePaths": _written(layout),
        "RestrictAddressFamilies": families,
    }


def _supervisor(layout: Layout) -> Options:
    """Root. It ends by itself when `hyperhive-agents` tells it that the whole hive ends; containers that are processes
    of its own live on when it is started again."""
    return {
        "Restart": "on-failure",
        "KillMode": "process",
        "Delegate": "yes",
        "EnvironmentFile": (f"-{ENVIRONMENT}", str(layout.data_dir / "run" / "services" / "supervisor.env")),
        **HARDENED,
        **_home(layout),
        "CapabilityBoundingSet": SUPERVISORS,
        "ReadWritePaths": (*_written(layout), "-/run/systemd/system"),
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    }


def _agents() -> Sections:
    supervisor = "hyperhive-supervisor.service"
    end = f"systemctl kill --kill-who=main --signal=INT {supervisor}"
    wait = f"while systemctl -q is-active {supervisor}; do sleep 0.1; done"
    return {
        "Unit": {
            "Description": "The agents of the hive, which end with it",
            "PartOf": TARGET,
            "After": supervisor,
        },
        "Service": {
            "Type": "oneshot",
            "RemainAfterExit": "yes",
            "ExecStart": "/bin/true",
            "ExecStop": f"/bin/sh -c '{end} && {wait}'",
            "TimeoutStopSec": "30",
        },
    }


def _written(layout: Layout) -> tuple[str, ...]:
    return (quoted(str(layout.data_dir)),)


def _home(layout: Layout) -> Options:
    own = {"BindReadOnlyPaths": " ".join(map(quoted, layout.in_tmp))} if layout.in_tmp else {}
    return {"ProtectHome": "read-only" if layout.home_is_read else "yes", **own}


def _text(sections: Sections) -> str:
    blocks = []
    for name, options in sections.items():
        lines = [f"{key}={value}" for key, values in options.items() for value in _values(values)]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return (
        "# Written by `hive install --systemd`. Change it by a drop-in: systemctl edit UNIT\n"
        + "\n\n".join(blocks)
        + "\n"
    )


def _values(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values
