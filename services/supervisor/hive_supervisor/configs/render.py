"""An agent's configuration as an `agent.toml`, for an agent that had none."""

from typing import Any

import tomli_w

from hive_contracts.agent_file import AgentFile
from hive_contracts.models import AgentConfig


def render(config: AgentConfig) -> bytes:
    """What differs from the hive's own; reading it gives `config` back."""
    found: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    found |= found.pop("policy", {})
    ordered = {name: found[name] for name in AgentFile.model_fields if name in found}
    return tomli_w.dumps(_without_none(ordered)).encode()


def _without_none(value: Any) -> Any:
    """TOML has no null; what is None is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
