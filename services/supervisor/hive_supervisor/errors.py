"""Errors of the supervisor.

Refused (contracts)
├── AgentExists       an agent of that name is there already
└── CannotStart       the container did not come up
NotFound (contracts)
└── UnknownAgent
"""

from hive_contracts.errors import NotFound, Refused


class AgentExists(Refused):
    code = "agent_exists"


class CannotStart(Refused):
    code = "cannot_start"


class UnknownAgent(NotFound):
    code = "unknown_agent"
