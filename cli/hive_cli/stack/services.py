"""The table of services: what `hive up` starts beside Redis, and with which environment."""

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hive_cli.paths import DataDir
from hive_cli.stack.child import ChildSpec
from hive_runtime import acl
from hive_runtime.passwords import PasswordFiles

MODEL_KEYS: Final = frozenset(
    {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"}
)
"""Only the supervisor gets these, for the agents that it starts."""


@dataclass(frozen=True, slots=True)
class Service:
    """`user` is its Redis user. `needs_model_keys`: starts what talks to a model. `end_signal`: tells it that the whole
    hive ends."""

    name: str
    command: Sequence[str]
    user: str
    needs_model_keys: bool = False
    end_signal: signal.Signals = signal.SIGTERM


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


SERVICES: Final = (
    Service("broker", _python("hive_broker"), acl.BROKER),
    Service(
        "supervisor", _python("hive_supervisor"), acl.SUPERVISOR, needs_model_keys=True, end_signal=signal.SIGINT
    ),  # SIGTERM would end it alone, and leave the containers
    Service("dashboard", _python("hive_dashboard"), acl.DASHBOARD),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all services of one start share. `extra` is per service name."""

    data: DataDir
    redis_url: str
    environ: Mapping[str, str]
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))


def child_spec(service: Service, around: Surroundings) -> ChildSpec:
    inherited = {
        key: value
        for key, value in around.environ.items()
        if not key.startswith("HIVE_REDIS") and (service.needs_model_keys or key not in MODEL_KEYS)
    }
    environ = inherited | own_variables(service, around)
    return ChildSpec(service.name, service.command, environ, around.data.log(service.name), service.end_signal)


def own_variables(service: Service, around: Surroundings) -> dict[str, str]:
    """What it must be told, whoever starts it."""
    return {
        "HIVE_DATA_DIR": str(around.data.root),
        "HIVE_REDIS_URL": around.redis_url,
        "HIVE_REDIS_USER": service.user,
        "HIVE_REDIS_PASSWORD_FILE": str(PasswordFiles(around.data.secrets).path(service.user)),
        **around.extra.get(service.name, {}),
    }


def service_users(data: DataDir) -> dict[str, tuple[str, ...]]:
    """Redis user → its ACL rules, with the password as a hash; two while it is being replaced."""
    files = PasswordFiles(data.secrets)
    return {
        acl.BROKER: acl.broker_rules(*files.valid(acl.BROKER)),
        acl.DASHBOARD: acl.dashboard_rules(*files.valid(acl.DASHBOARD)),
        acl.SUPERVISOR: acl.supervisor_rules(*files.valid(acl.SUPERVISOR)),
    }
