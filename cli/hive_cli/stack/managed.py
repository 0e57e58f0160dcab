"""Who starts the services of a data directory, as `hive prepare` wrote it down."""

import json
from typing import Final

from hive_cli.paths import DataDir

STARTS: Final = {"systemd": "systemctl start hyperhive.target", "compose": "docker compose up -d"}
STOPS: Final = {"systemd": "systemctl stop hyperhive.target 'hyperhive-*.service'", "compose": "docker compose down"}
"""By what starts the services instead of `hive up`. The target alone does not wait for its services' end."""


def manager_of(data: DataDir) -> str:
    """What starts them instead of `hive up`; empty for `hive up` itself."""
    try:
        found = json.loads(data.hive_json.read_text()).get("manager", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(found)


def as_supervisor(data: DataDir, command: str) -> str:
    """How one runs `command` with the rights of the supervisor, which may read everything."""
    if manager_of(data) == "compose":
        return f"docker compose exec supervisor {command}"
    return f"run `{command}` as root"
