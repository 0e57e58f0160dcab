"""Errors of the supervisor; those that answers carry to others are of the contracts.

Refused (contracts)
├── AgentExists, AgentDestroyed, AgentRuns, CannotStart, ConfigRefused (contracts)
├── EngineRefused     a container engine said no
│   └── EngineConflict   something of that name, or in that state, is in the way
└── SystemdError      systemd refused
    ├── NotPermitted  this user may not manage units
    ├── UnitTaken     a unit of that name is there already
    ├── NoSuchUnit    no unit of that name is loaded
    └── NothingToKill nothing of the unit runs
NotFound (contracts)
├── UnknownAgent (contracts)
└── EngineLacks       a container engine has no such container, image or network
Unavailable (contracts)
└── EngineAway        a container engine does not answer
"""

from hive_contracts.errors import (
    AgentDestroyed,
    AgentExists,
    AgentRuns,
    CannotStart,
    ConfigRefused,
    NotFound,
    Refused,
    Unavailable,
    UnknownAgent,
)

__all__ = [
    "AgentDestroyed",
    "AgentExists",
    "AgentRuns",
    "CannotStart",
    "ConfigRefused",
    "EngineAway",
    "EngineConflict",
    "EngineLacks",
    "EngineRefused",
    "NoSuchUnit",
    "NotPermitted",
    "NothingToKill",
    "SystemdError",
    "UnitTaken",
    "UnknownAgent",
]


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


class EngineRefused(Refused):
    code = "engine_refused"


class EngineConflict(EngineRefused):
    code = "engine_conflict"


class EngineLacks(NotFound):
    code = "engine_lacks"


class EngineAway(Unavailable):
    code = "engine_away"
