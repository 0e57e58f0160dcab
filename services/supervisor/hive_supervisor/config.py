"""Settings of the supervisor: `[supervisor]` in hive.toml, `HIVE_SUPERVISOR_…` in the environment."""

from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import Field

from hive_contracts.agents import Engine
from hive_contracts.models import DEFAULT_MODEL, ModelName, Network
from hive_runtime.settings import Settings

FIRST_ID: Final = 0x4000_0000
LAST_FIRST_ID: Final = 0x7000_0000
END_OF_IDS: Final = 0xFFFF_0000
"""The first user id that no agent has: in the last 65,536 is the one that stands for none."""


class Isolation(StrEnum):
    """How the process runtime keeps agents apart."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


class RuntimeChoice(StrEnum):
    """What containers are made of; `auto` takes the strongest that runs here."""

    AUTO = "auto"
    NIXOS = "nixos"
    NSPAWN = "nspawn"
    DOCKER = "docker"
    PROCESS = "process"


class SupervisorSettings(Settings):
    """`engine` is for agents that do not name their own; `engine_reason` says why it was chosen."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    runtime: RuntimeChoice = RuntimeChoice.AUTO
    isolation: Isolation = Isolation.AUTO
    engine: Engine = Engine.SCRIPTED
    engine_reason: str = ""
    claude: Path | None = Field(default=None, description="the claude binary")
    model: ModelName = DEFAULT_MODEL
    first_uid: int = Field(
        default=FIRST_ID, ge=65_536, le=LAST_FIRST_ID, description="from here on each agent has 65,536 user ids"
    )
    network: Network = Field(default=Network.HOST, description="what agents reach beside Redis")
    systemd_bus: str = Field(
        default="unix:path=/run/dbus/system_bus_socket", pattern="^unix:", description="D-Bus address of systemd"
    )
    nixos_flake: str = Field(
        default="", pattern=r"^([^-\s]\S*)?$", description="NixOS containers' flake; {agent} stands for the name"
    )
    docker_socket: str = Field(default="", description="the container engine's; empty for DOCKER_HOST or the usual one")
    limit_memory_mb: int = Field(default=2048, ge=64, description="memory of one container, in MiB")
    limit_cpus: float = Field(default=2.0, gt=0, description="cores of one container")
    limit_pids: int = Field(default=512, ge=32, description="processes and threads of one container")
    limit_open_files: int = Field(default=4096, ge=256, description="open files of one process in a container")
    limit_log_mb: int = Field(default=32, ge=1, description="what is kept of one container's log, in MiB")
    approval_ttl_s: float = Field(default=7 * 86_400, gt=0, description="how long a request waits for the operator")
    stop_grace_s: float = Field(default=3.5, gt=0, description="time a harness has to end its turn")
    start_timeout_s: float = Field(default=30, gt=0, description="time a harness has to report ready")
    start_at_once: int = Field(default=8, ge=1, description="containers that start at the same time; others wait")
    restart_tries: int = Field(default=5, ge=1, description="starts in a row that may fail")
    restart_crashes: int = Field(default=10, ge=1, description="crashes within the window before it stays down")
    restart_window_s: float = Field(default=1800, gt=0, description="that window, in seconds")
    rotate_turn_wait_s: float = Field(default=300, ge=0, description="time turns have to end before a new password")
    quota_mb: int = Field(default=64, ge=1, description="memory that an agent's keys in Redis may take, in MiB")
    quota_outbox_per_minute: int = Field(default=1200, ge=1, description="outbox entries of one agent in a minute")
    quota_live_per_minute: int = Field(default=30_000, ge=1, description="live entries of one agent in a minute")
    quota_connections: int = Field(default=50, ge=10, description="connections of one agent to Redis")
    quota_look_s: float = Field(default=0.25, gt=0, description="seconds between looks at the server's memory")
    quota_pause_s: float = Field(default=10, gt=0, description="the first pause of who is over; doubles each time")
