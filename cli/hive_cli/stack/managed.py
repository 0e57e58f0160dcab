"""Who starts the services of a data directory, as `hive prepare` wrote it down."""

import json

from hive_cli.paths import DataDir


def manager_of(data: DataDir) -> str:
    """What starts them instead of `hive up`; empty for `hive up` itself."""
    try:
        found = json.loads(data.hive_json.read_text()).get("manager", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(found)
