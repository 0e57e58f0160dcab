"""What tells one hive from others on the same server or machine, for as long as its data directory lives."""

import os
from pathlib import Path
from typing import Final

from hive_contracts.ids import new_id

_FILE: Final = "hive.id"


def hive_id(data_dir: Path) -> str:
    """Made on first use, by whoever asks first."""
    path = data_dir / _FILE
    if not path.exists():
        own = path.with_name(f"{_FILE}.{os.getpid()}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_id())
        try:
            path.hardlink_to(own)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text().strip()
