"""The files that an engine is started with: where the MCP endpoint is, and its settings. The first holds a secret."""

import shutil
from pathlib import Path
from typing import Any, Final

from hive_harness.engine import Attachment
from hive_harness.files import write_json
from hive_harness.mcp import SERVER_NAME

SETTINGS: Final[dict[str, Any]] = {"autoMemoryEnabled": False}


class AttachmentFiles:
    """In a directory that only this user can enter; `remove` takes it away."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory

    def write(self, url: str, token: str) -> None:
        server = {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer {token}"}}
        write_json(self._directory / "mcp.json", {"mcpServers": {SERVER_NAME: server}})
        write_json(self._directory / "settings.json", SETTINGS)

    def attach(self, session_id: str | None) -> Attachment:
        return Attachment(self._directory / "mcp.json", self._directory / "settings.json", session_id)

    def remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
