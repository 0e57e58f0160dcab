"""Errors of the supervisor.

Refused (contracts)
├── AgentExists       an agent of that name is there already
├── AgentDestroyed    the agent is there no more, or only its state
├── CannotStart       the container did not come up
├── ConfigRefused     a commit or a bundle that may not come into an agent's repository
├── EngineRefused     a container engine said no
│   └── EngineConflict   something of that name, or in that state, is in the way
└── SystemdError      systemd refused
    ├── NotPermitted  this user may not manage units
    ├── UnitTaken     a unit of that name is there already
    ├── NoSuchUnit    no unit of that name is loaded
    └── NothingToKill nothing of the unit runs
NotFound (contracts)
├── UnknownAgent
└── EngineLacks       a container engine has no such container, image or network
Unavailable (contracts)
└── EngineAway        a container engine does not answer
"""

from hive_contracts.errors import NotFound, Refused, Unavailable


class AgentExists(Refused):
    code = "agent_exists"


class AgentDestroyed(Refused):
    code = "agent_destroyed"


class CannotStart(Refused):
    code = "cannot_start"


class ConfigRefused(Refused):
    code = "config_refused"


class SystemdError(Refused):
    code = "systemd_refused"


class NotPermitted(SystemdError):
    code = "not_permitted"


class UnitTaken(SystemdError):
    code = "unit_taken"


class NoSuchUnit(SystemdError):
    code = "no_such_unit"


class NothingToKill(SystemdError):
    code = "nothing_to_kill"


class UnknownAgent(NotFound):
    code = "unknown_agent"


class EngineRefused(Refused):
    code = "engine_refused"


class EngineConflict(EngineRefused):
    code = "engine_conflict"


class EngineLacks(NotFound):
    code = "engine_lacks"


class EngineAway(Unavailable):
    code = "engine_away"
