"""Settings of every harness: `[harness]` in hive.toml on the host, `HIVE_HARNESS_…` in a container's environment.

They stand here because both sides know them: the supervisor reads and checks the file, a harness sees no file of the
hive and reads what the supervisor put into its environment.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import Field

from hive_runtime.settings import Settings

MODEL_KEY: Final = "model-key"
"""The file beside the Redis password that holds the engine's keys as JSON, variable → key; removed when read."""

VALUES_FILE: Final = "secret-values"
"""The file beside it that holds the secrets that `agent.toml` names, likewise."""


def secret_file(variable: str, agent: str = "") -> str:
    """What the file of a secret is called in the hive's `secrets`: for one agent, or for all that name it."""
    return f"value-{variable}@{agent}" if agent else f"value-{variable}"


class HarnessSettings(Settings):
    """Times in seconds."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    idle_close_s: float = Field(default=600, ge=0, description="an engine without work is closed; 0: after each turn")
    turn_limit_s: float = Field(default=1800, gt=0, description="a turn that takes longer is ended")
    turn_tool_calls: int = Field(default=500, gt=0, description="a turn that makes more tool calls is ended")
    turn_tokens: int = Field(default=0, ge=0, description="a turn that uses more tokens is ended; 0: no limit")
    silence_limit_s: float = Field(default=600, gt=0, description="an engine that says nothing for longer is hung")
    tool_limit_s: float = Field(default=660, gt=0, description="a tool call that takes longer has stalled")
    stop_grace_s: float = Field(default=1, ge=0, description="time that a turn has to end when the harness is to stop")
    heartbeat_s: float = Field(default=30, gt=0, description="how often it says that it works on what it has in hand")
    nap_limit_s: float = Field(default=86_400, gt=0, description="the longest nap")
    compact_at: float = Field(default=0.75, gt=0, le=1, description="a conversation that fills more of the window")
    notes_limit_bytes: int = Field(default=32_768, ge=1024, description="notes that are longer are shortened")
    send_wait_s: float = Field(default=10, gt=0, description="how long `send` waits for the broker's answer")
    permission_wait_s: float = Field(
        default=600, gt=0, description="how long the operator has for a question of permission; then it means no"
    )
    terminal_idle_s: float = Field(
        default=900, gt=0, description="a terminal in which nobody types for so long is closed"
    )
    retry_first_s: float = Field(default=0.5, gt=0, description="the wait after a failed turn; doubles each time")
    retry_limit_s: float = Field(default=60, gt=0, description="the longest wait after a failed turn")

    def environment(self) -> Mapping[str, str]:
        """The variables from which a harness reads the same settings."""
        return {f"HIVE_HARNESS_{name.upper()}": str(value) for name, value in self if name in self.model_fields_set}
