"""The files that an engine is started with: its MCP servers and its settings. The first holds secrets."""

import os
import shutil
from typing import Any

from hive_contracts.models import McpServer
from hive_contracts.permissions import SHELL, ToolPolicy
from hive_harness.config import HarnessConfig
from hive_harness.engine import Attachment
from hive_harness.files import write_json
from hive_harness.mcp import SERVER_NAME


class AttachmentFiles:
    """In a directory that only this user and the engine's can enter; `remove` takes it away."""

    def __init__(self, config: HarnessConfig) -> None:
        config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.run_dir.chmod(0o700 if config.engine_uid is None else 0o750)
        if config.engine_uid is not None:
            os.chown(config.run_dir, -1, config.engine_uid)
        self._directory = config.run_dir
        self._config = config

    def write(self, url: str, token: str) -> None:
        own = {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer {token}"}}
        further = {name: self._server(server) for name, server in self._config.mcp_servers.items()}
        self._write("mcp.json", {"mcpServers": {**further, SERVER_NAME: own}})
        self._write("settings.json", engine_settings(self._config.policy))

    def attach(self, session_id: str | None, model: str) -> Attachment:
        return Attachment(self._directory / "mcp.json", self._directory / "settings.json", session_id, model)

    def remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, name: str, document: dict[str, Any]) -> None:
        path = self._directory / name
        write_json(path, document)
        if self._config.engine_uid is not None:
            os.chown(path, -1, self._config.engine_uid)
            path.chmod(0o640)

    def _server(self, server: McpServer) -> dict[str, Any]:
        if server.url:
            return {"type": "http", "url": server.url}
        variables = self._config.mcp_variables
        env = {name: variables[name] for name in server.env if name in variables}
        return {"type": "stdio", "command": server.command, "args": list(server.args), "env": env}


def engine_settings(policy: ToolPolicy) -> dict[str, Any]:
    """For `--settings`. With `ask` the CLI asks for every command, also for those that it thinks only read: the harness
    decides by the patterns (`patterns`), because the CLI's own matching of them is not relied on."""
    ask = [SHELL] if policy.restricts_bash else []
    return {"autoMemoryEnabled": False, "permissions": {"ask": ask}}
