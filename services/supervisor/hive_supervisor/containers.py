"""From an agent to its container's spec: where its files are, what it may read, what its environment holds."""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hive_contracts.agents import Engine
from hive_contracts.models import AgentModel, ModelSource
from hive_runtime import acl
from hive_runtime.agent_settings import MODEL_KEY, VALUES_FILE, HarnessSettings, secret_file
from hive_runtime.redis_url import RedisAddress
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.errors import CannotStart
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.runtimes.base import ContainerSpec, Limits
from hive_supervisor.runtimes.log_tail import earlier
from hive_supervisor.runtimes.process import REDIS_PASSWORD
from hive_supervisor.store import Agent

_PASSED_ON: Final = ("ANTHROPIC_BASE_URL", "LANG", "TZ")
API_KEY, OAUTH_TOKEN, BEARER = "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"
OAUTH_PREFIX: Final = "sk-ant-oat"
_LOGIN: Final = (".claude", ".credentials.json")
"""Where Claude Code keeps its login, in the state."""

_PACKAGES: Final = ("hive_contracts", "hive_runtime", "hive_harness")
MIB: Final = 1024 * 1024
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Premises:
    """Where this hive lives and how it is set."""

    config: SupervisorSettings
    harness: HarnessSettings
    data_dir: Path
    address: RedisAddress
    retention: RetentionSettings = field(default_factory=RetentionSettings)


def spec_for(agent: Agent, *, premises: Premises, password: str) -> ContainerSpec:
    """The container of `agent`."""
    config, data_dir, address = premises.config, premises.data_dir, premises.address
    folder = data_dir / "agents" / agent.name
    socket = socket_of(address)
    return ContainerSpec(
        name=agent.name,
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_file=log_file(data_dir, agent.name),
        id_base=agent.id_base if os.geteuid() == 0 else None,
        harness_dir=folder / "harness",
        environment=_environment(agent, premises, os.environ),
        secrets=_secrets(agent, premises, password),
        readable=_readable(config),
        redis_socket=socket,
        limits=_limits(agent, config),
        network=agent.config.network or config.network,
    )


def socket_of(address: RedisAddress) -> Path | None:
    """Where the server listens, if it is reached by a socket."""
    return Path(address.url.removeprefix("unix://")) if address.url.startswith("unix://") else None


def _limits(agent: Agent, config: SupervisorSettings) -> Limits:
    """The hive's, with what the agent's own configuration says instead."""
    own = agent.config.limits
    return Limits(
        memory_bytes=(own.memory_mib or config.limit_memory_mb) * MIB,
        cpus=own.cpus or config.limit_cpus,
        pids=own.pids or config.limit_pids,
        open_files=own.open_files or config.limit_open_files,
    )


def _secrets(agent: Agent, premises: Premises, password: str) -> dict[str, str]:
    keys = model_keys(agent.name, premises.data_dir / "secrets", os.environ)
    given = {MODEL_KEY: json.dumps(keys)} if keys and engine_of(agent, premises.config) is Engine.CLAUDE else {}
    if values := secret_values(agent.name, agent.config.secrets, premises.data_dir / "secrets"):
        given[VALUES_FILE] = json.dumps(values)
    return {REDIS_PASSWORD: password, **given}


def secret_values(name: str, wanted: Sequence[str], secrets_dir: Path) -> dict[str, str]:
    """What the operator set for the variables that are `wanted`: for this agent, else for all. Raises `CannotStart`."""
    found = {}
    for variable in wanted:
        places = (secrets_dir / secret_file(variable, name), secrets_dir / secret_file(variable))
        place = next((path for path in places if path.is_file()), None)
        if place is None:
            raise CannotStart(f"{name} is to have the secret {variable}, which is not set: hive secret set {variable}")
        found[variable] = place.read_text().removesuffix("\n")
    return found


def model_keys(name: str, secrets_dir: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The engine's keys by the variable that the CLI knows them by: from the agent's own file, else the hive's, else
    from the environment. Empty when there is none: then the operator signs the engine in."""
    for path in (secrets_dir / f"{MODEL_KEY}-{name}", secrets_dir / MODEL_KEY):
        if path.is_file() and (key := path.read_text().strip()):
            return {OAUTH_TOKEN if key.startswith(OAUTH_PREFIX) else API_KEY: key}
    return {variable: environ[variable] for variable in (API_KEY, OAUTH_TOKEN, BEARER) if environ.get(variable)}


def is_signed_in(name: str, data_dir: Path) -> bool:
    """Whether its engine has a login of its own: in its state, where no link is followed, or in its key's file."""
    place = data_dir / "agents" / name / "state"
    for part in _LOGIN:
        place /= part
        if place.is_symlink() or not place.exists():
            return (data_dir / "secrets" / f"{MODEL_KEY}-{name}").is_file()
    return True


def agents_logs(data_dir: Path) -> Path:
    return data_dir / "logs" / "agents"


def log_file(data_dir: Path, name: str) -> Path:
    return agents_logs(data_dir) / f"{name}.log"


def files_of(data_dir: Path, name: str) -> tuple[Path, ...]:
    """What only the agent itself wrote, and nobody reads once it has ended."""
    folder = data_dir / "agents" / name
    return tuple(folder / part for part in ("state", "state.new", "harness", "run", "etc"))


def traces_of(data_dir: Path, name: str) -> tuple[Path, ...]:
    """All else on disk that is of one agent alone, but for its password and its configuration."""
    secrets, printed = data_dir / "secrets", log_file(data_dir, name)
    own = (secrets / f"{MODEL_KEY}-{name}", *sorted(secrets.glob(secret_file("*", name))))
    return (data_dir / "agents" / name, *own, printed, earlier(printed))


def engine_of(agent: Agent, config: SupervisorSettings) -> Engine:
    return agent.engine or config.engine


def model_of(agent: Agent, config: SupervisorSettings) -> AgentModel:
    """The operator's override, else the agent's own, else the hive's."""
    if agent.model_override:
        return AgentModel(name=agent.model_override, source=ModelSource.OVERRIDE, override_since=agent.model_set_at)
    if agent.config.model:
        return AgentModel(name=agent.config.model, source=ModelSource.CONFIG)
    return AgentModel(name=config.model)


def _environment(agent: Agent, premises: Premises, environ: Mapping[str, str]) -> dict[str, str]:
    config = premises.config
    own = {
        "PATH": _PATH,
        "HIVE_AGENT_NAME": agent.name,
        "HIVE_AGENT_ROLE": agent.role.value,
        "HIVE_ENGINE": engine_of(agent, config).value,
        "HIVE_MODEL": model_of(agent, config).name,
        "HIVE_AGENT_CONFIG": agent.config.model_dump_json(exclude_defaults=True),
        "HIVE_REDIS_URL": premises.address.url,
        "HIVE_REDIS_USER": acl.agent_user(agent.name),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if config.claude:
        own["HIVE_CLAUDE"] = str(config.claude.resolve())
    wanted = {*_PASSED_ON, *(name for server in agent.config.mcp_servers.values() for name in server.env)}
    passed = {name: environ[name] for name in sorted(wanted) if name in environ}
    return {**passed, **premises.harness.environment(), **own}


def _readable(config: SupervisorSettings) -> tuple[Path, ...]:
    """The interpreter, its packages, hyperhive's own, and the engine: all that is not under /usr."""
    found = [Path(sys.prefix), Path(sys.base_prefix), *(_folder_of(name) for name in _PACKAGES)]
    if config.claude:
        found.append(_installation_of(config.claude.resolve()))
    return tuple(dict.fromkeys(path for path in found if not path.is_relative_to("/usr")))


def _folder_of(package: str) -> Path:
    """The folder to search for it: an interpreter lists it, so the package alone would not be found."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parents[1]


def _installation_of(binary: Path) -> Path:
    """An npm package's binary needs its neighbours; any other stands alone."""
    return next((parent for parent in binary.parents if parent.name == "node_modules"), binary)
