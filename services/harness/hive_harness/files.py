"""Small JSON files that are whole or absent, whenever the process is killed."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` at once; readable by this user only. Raises `OSError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is none, or it cannot be read."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
