"""Errors of the supervisor.

Refused (contracts)
├── AgentExists       an agent of that name is there already
├── AgentDestroyed    the agent is there no more, or only its state
├── CannotStart       the container did not come up
└── ConfigRefused     a commit or a bundle that may not come into an agent's repository
NotFound (contracts)
└── UnknownAgent
"""

from hive_contracts.errors import NotFound, Refused


class AgentExists(Refused):
    code = "agent_exists"


class AgentDestroyed(Refused):
    code = "agent_destroyed"


class CannotStart(Refused):
    code = "cannot_start"


class ConfigRefused(Refused):
    code = "config_refused"


class UnknownAgent(NotFound):
    code = "unknown_agent"
