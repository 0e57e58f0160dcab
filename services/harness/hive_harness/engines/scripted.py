"""The scripted engine: `python -m hive_harness.scripted`, started like Claude Code."""

from pathlib import Path
from typing import Final

from hive_harness.config import HarnessConfig
from hive_harness.engine import Attachment, Command
from hive_harness.permissions import PERMISSION_TOOL

_PACKAGES: Final = Path(__file__).resolve().parents[2]


class ScriptedEngine:
    """It needs the standard library and hyperhive's own files only, so that the rest need not be looked for (-S).

    -P keeps the working directory, which the agent can write, out of the import path.
    """

    def __init__(self, config: HarnessConfig) -> None:
        self._config = config

    def command(self, attachment: Attachment) -> Command:
        arguments = [*self._program(), "--mcp-config", str(attachment.mcp_config), "--model", attachment.model]
        if self._config.policy.restricts_bash:
            arguments += ["--permission-prompt-tool", PERMISSION_TOOL]
        if attachment.session_id:
            arguments += ["--resume", attachment.session_id]
        return Command(arguments, self._environment(), self._config.state_dir, self._config.engine_uid)

    def alone(self, model: str) -> Command:
        arguments = [*self._program(), "--alone", "--model", model]
        return Command(arguments, self._environment(), self._config.temp_dir, self._config.engine_uid)

    def auth(self, verb: str) -> Command | None:
        return None

    def _program(self) -> list[str]:
        return [self._config.python, "-S", "-P", "-m", "hive_harness.scripted"]

    def _environment(self) -> dict[str, str]:
        return self._config.engine_environment | {"PYTHONPATH": str(_PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
