"""Settings of every harness: `[harness]` in hive.toml on the host, `HIVE_HARNESS_…` in a container's environment.

They stand here because both sides know them: the supervisor reads and checks the file, a harness sees no file of the
hive and reads what the supervisor put into its environment.
"""

from collections.abc import Mapping

from pydantic import Field

from hive_runtime.settings import Settings


class HarnessSettings(Settings):
    """Times in seconds."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    idle_close_s: float = Field(default=600, ge=0, description="an engine without work is closed; 0: after each turn")
    turn_limit_s: float = Field(default=1800, gt=0, description="a turn that takes longer counts as hung")
    send_wait_s: float = Field(default=10, gt=0, description="how long `send` waits for the broker's answer")
    retry_first_s: float = Field(default=0.5, gt=0, description="the wait after a failed turn; doubles each time")
    retry_limit_s: float = Field(default=60, gt=0, description="the longest wait after a failed turn")

    def environment(self) -> Mapping[str, str]:
        """The variables from which a harness reads the same settings."""
        return {f"HIVE_HARNESS_{name.upper()}": str(value) for name, value in self if name in self.model_fields_set}
