"""Claude Code: `claude -p` with stream-json both ways (checked with 2.1.197)."""

from pathlib import Path
from typing import Final

from hive_harness.config import HarnessConfig
from hive_harness.engine import Attachment, Command
from hive_harness.instructions import instructions
from hive_harness.mcp import SERVER_NAME
from hive_harness.tools import MAX_WAIT_S

BUILT_IN: Final = ("Bash", "Edit", "Glob", "Grep", "Read", "Write")
TOOL_TIMEOUT_MS: Final = (MAX_WAIT_S + 60) * 1000
"""Unless told, the CLI gives an MCP call up after 60 s, and `recv` may wait for longer."""


class ClaudeEngine:
    """Its home and its settings lie in the agent's state directory; its environment is made here, from nothing."""

    def __init__(self, config: HarnessConfig, program: Path) -> None:
        self._config = config
        self._program = program

    def command(self, attachment: Attachment) -> Command:
        return Command(self._arguments(attachment), self._environment(), self._config.state_dir)

    def _arguments(self, attachment: Attachment) -> list[str]:
        tools = ",".join(BUILT_IN)
        # fmt: off
        arguments = [
            str(self._program), "-p",
            "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
            "--model", self._config.model,
            "--mcp-config", str(attachment.mcp_config), "--strict-mcp-config",
            "--settings", str(attachment.settings),
            "--tools", tools,
            "--allowedTools", f"{tools},mcp__{SERVER_NAME}",
            "--append-system-prompt", instructions(self._config),
        ]
        # fmt: on
        return arguments + (["--resume", attachment.session_id] if attachment.session_id else [])

    def _environment(self) -> dict[str, str]:
        state = self._config.state_dir
        return {
            "PATH": self._config.path,
            "HOME": str(state / "home"),
            "CLAUDE_CONFIG_DIR": str(state / ".claude"),
            "TMPDIR": str(self._config.temp_dir),
            "LANG": "C.UTF-8",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # what outlives a turn would be under no message's lease
            "DISABLE_AUTOUPDATER": "1",
            "MCP_TOOL_TIMEOUT": str(TOOL_TIMEOUT_MS),
        } | dict(self._config.credentials)
