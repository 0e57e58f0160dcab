"""What a change of `agent.toml` means, in words for whoever approves it, with a mark where an agent may do more.

Nothing changes in silence: every key whose value differs has at least one line, and a key that this page has no words
for is marked like a wider right. Values are an agent's text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from hive_contracts.agent_file import AgentFile
from hive_contracts.models import AgentLimits, McpServer, Network, RestartPolicy
from hive_contracts.permissions import ANY_COMMAND, SHELL, PermissionPolicy

MAX_SHOWN: Final = 200
"""Characters of a value that are put into a sentence; settings show all of it."""


class Risk(StrEnum):
    """`WIDER`: it may do or take more than before. `SAME`: it is neither more nor less."""

    WIDER = "wider"
    SAME = "same"
    NARROWER = "narrower"


@dataclass(frozen=True, slots=True)
class Right:
    """`key` is the one of `agent.toml` that it follows from, dotted. `words` go on from the agent's name."""

    key: str
    words: str
    risk: Risk


@dataclass(frozen=True, slots=True)
class Setting:
    """A key's value before and after, as it may stand in the file; empty for one that the file leaves out."""

    key: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


NOTHING: Final = AgentFile(
    tools=(), bash_patterns=(), permission_policy=PermissionPolicy.DENY, recipients=(), network=Network.NONE
)
"""An agent that may do nothing: what a new one may is told from here."""


def rights(before: AgentFile | None, after: AgentFile) -> tuple[Right, ...]:
    """What is different, the wider first. Without `before`: all that a new one may, marked where that is unusual."""
    if before is not None:
        return _sorted(_changes(before, after))
    usual = {right.key for right in _changes(AgentFile(), after) if right.risk is Risk.WIDER}
    return _sorted(
        right if right.key in usual else replace(right, risk=Risk.SAME) for right in _changes(NOTHING, after)
    )


def settings(before: AgentFile | None, after: AgentFile) -> tuple[Setting, ...]:
    """Every key that either file gives, in the file's order, those of tables dotted."""
    old = dict(_flat(before)) if before else {}
    new = dict(_flat(after))
    keys = [*new, *(key for key in old if key not in new)]
    order = {name: number for number, name in enumerate(AgentFile.model_fields)}
    keys.sort(key=lambda key: order[key.split(".")[0]])
    return tuple(Setting(key, old.get(key, ""), new.get(key, "")) for key in keys)


def _sorted(found: Iterator[Right]) -> tuple[Right, ...]:
    ranks = [*Risk]
    return tuple(sorted(found, key=lambda right: ranks.index(right.risk)))


def _changes(before: AgentFile, after: AgentFile) -> Iterator[Right]:
    for key in type(after).model_fields:
        old, new = getattr(before, key), getattr(after, key)
        if key == "bash_patterns":
            yield from _commands(before, after)
        elif old == new:
            continue
        elif words := _WORDS.get(key):
            yield from words(old, new)
        else:
            yield Right(key, f"has another {key}: {_shown(new)} instead of {_shown(old)}", Risk.WIDER)


def _tools(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Right]:
    for tool in (one for one in after if one not in before):
        yield Right("tools", f"may now {_TOOLS.get(tool, 'use this tool')} ({tool})", Risk.WIDER)
    for tool in (one for one in before if one not in after):
        yield Right("tools", f"may no longer {_TOOLS.get(tool, 'use this tool')} ({tool})", Risk.NARROWER)
    if set(before) == set(after):
        yield Right("tools", "has its tools listed in another order", Risk.SAME)


_TOOLS: Final = {
    "Bash": "run shell commands",
    "Edit": "change files",
    "Glob": "list files",
    "Grep": "search in files",
    "NotebookEdit": "change notebooks",
    "Read": "read files",
    "Task": "start agents of its own inside a turn",
    "WebFetch": "read pages of the web",
    "WebSearch": "search the web",
    "Write": "write files",
}


def _commands(before: AgentFile, after: AgentFile) -> Iterator[Right]:
    """What of the shell it runs without asking, which three keys say together."""
    old, new = _unasked(before), _unasked(after)
    if ANY_COMMAND in new and ANY_COMMAND not in old:
        yield Right("bash_patterns", "may now run any shell command without asking", Risk.WIDER)
    elif ANY_COMMAND in old and ANY_COMMAND not in new:
        kept = ", ".join(_command(pattern) for pattern in new)
        words = f"runs only these without asking: {kept}" if kept else "runs no shell command without asking"
        yield Right("bash_patterns", words, Risk.NARROWER)
    elif old != new:
        for pattern in (one for one in new if one not in old):
            yield Right("bash_patterns", f"may now run {_command(pattern)} without asking", Risk.WIDER)
        for pattern in (one for one in old if one not in new):
            yield Right("bash_patterns", f"may no longer run {_command(pattern)} without asking", Risk.NARROWER)
    if old == new and before.bash_patterns != after.bash_patterns:
        words = "has other patterns of shell commands, which make no difference here"
        yield Right("bash_patterns", words, Risk.SAME)
    elif set(old) == set(new) and old != new:
        yield Right("bash_patterns", "has its patterns of shell commands in another order", Risk.SAME)


def _unasked(file: AgentFile) -> tuple[str, ...]:
    if SHELL not in file.tools:
        return ()
    any_ = file.permission_policy is PermissionPolicy.ALLOW or file.bash_patterns is None
    return (ANY_COMMAND,) if any_ or ANY_COMMAND in (file.bash_patterns or ()) else file.bash_patterns or ()


def _command(pattern: str) -> str:
    """A pattern in words: `git *` is any git command."""
    if pattern.endswith(" *") and ANY_COMMAND not in pattern[:-1]:
        return f"any `{_shown(pattern[:-2])}` command"
    return f"any command like `{_shown(pattern)}`" if ANY_COMMAND in pattern else f"`{_shown(pattern)}`"


def _policy(before: PermissionPolicy, after: PermissionPolicy) -> Iterator[Right]:
    order = (PermissionPolicy.DENY, PermissionPolicy.ASK, PermissionPolicy.ALLOW)
    risk = Risk.WIDER if order.index(after) > order.index(before) else Risk.NARROWER
    yield Right("permission_policy", _POLICIES[after], risk)


_POLICIES: Final = {
    PermissionPolicy.DENY: "is refused what its settings do not allow, and you are not asked",
    PermissionPolicy.ASK: "asks you before it does what its settings do not allow",
    PermissionPolicy.ALLOW: "may do all that its tools can, without asking",
}


def _recipients(before: tuple[str, ...] | None, after: tuple[str, ...] | None) -> Iterator[Right]:
    if after is None:
        yield Right("recipients", "may now write to every agent", Risk.WIDER)
    elif before is None:
        named = f"only to {', '.join(after)}, you and the manager" if after else "only to you and the manager"
        yield Right("recipients", f"may write {named}", Risk.NARROWER)
    else:
        for name in (one for one in after if one not in before):
            yield Right("recipients", f"may now write to {name}", Risk.WIDER)
        for name in (one for one in before if one not in after):
            yield Right("recipients", f"may no longer write to {name}", Risk.NARROWER)
        if set(before) == set(after):
            yield Right("recipients", "has its recipients listed in another order", Risk.SAME)


def _network(before: Network | None, after: Network | None) -> Iterator[Right]:
    """What the hive gives by itself is not in the file: to leave a known network for it may be more or less."""
    if after is Network.HOST:
        yield Right("network", "may now use the network, as the host does", Risk.WIDER)
    elif after is Network.NONE:
        yield Right("network", "may use no network", Risk.NARROWER)
    else:
        risk = Risk.NARROWER if before is Network.HOST else Risk.WIDER
        yield Right("network", "has the network that the hive gives every agent", risk)


def _restart(_before: RestartPolicy, after: RestartPolicy) -> Iterator[Right]:
    yield Right("restart", _RESTARTS[after], Risk.SAME)


_RESTARTS: Final = {
    RestartPolicy.MANAGER: "comes up again after a crash; after too many, the manager or you may start it",
    RestartPolicy.ALWAYS: "comes up again after a crash; after too many, only you may start it",
    RestartPolicy.NEVER: "stays down after its first crash",
}


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Right]:
    for name, value in after.items():
        if name not in before:
            yield Right(f"environment.{name}", f"gets the variable {name}={_shown(value)}", Risk.WIDER)
        elif before[name] != value:
            words = f"gets {name}={_shown(value)} instead of {_shown(before[name])}"
            yield Right(f"environment.{name}", words, Risk.WIDER)
    for name in (one for one in before if one not in after):
        yield Right(f"environment.{name}", f"no longer gets the variable {name}", Risk.NARROWER)


def _secrets(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Right]:
    yield from _listed("secrets", before, after, ("is given the secret {}", "is no longer given the secret {}"))


def _packages(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Right]:
    """A container that has less is not made smaller by it: it only needs less."""
    yield from _listed("packages", before, after, ("has the package {} in its container", "no longer needs {}"))


def _listed(key: str, before: tuple[str, ...], after: tuple[str, ...], words: tuple[str, str]) -> Iterator[Right]:
    for name in (one for one in after if one not in before):
        yield Right(key, words[0].format(name), Risk.WIDER)
    for name in (one for one in before if one not in after):
        yield Right(key, words[1].format(name), Risk.NARROWER)
    if set(before) == set(after):
        yield Right(key, f"has its {key} listed in another order", Risk.SAME)


def _limits(before: AgentLimits, after: AgentLimits) -> Iterator[Right]:
    for key, what in _LIMITS.items():
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        words = f"gets {_amount(key, new)} {what} instead of {_amount(key, old)}"
        yield Right(f"limits.{key}", words, _limit_risk(key, old, new))


def _limit_risk(key: str, old: float | None, new: float | None) -> Risk:
    """The hive's own limit is not in the file: to leave a known one for it, or it for a known one, may be more."""
    if key == "turn_tokens" and 0 in (old, new):
        return Risk.WIDER if new == 0 else Risk.NARROWER
    return Risk.NARROWER if old is not None and new is not None and new < old else Risk.WIDER


_LIMITS: Final = {
    "memory_mib": "of memory",
    "cpus": "of processor time",
    "pids": "at once",
    "open_files": "in each process",
    "turn_seconds": "for a turn",
    "turn_tool_calls": "in a turn",
    "turn_tokens": "in a turn",
}
_UNITS: Final = {
    "cpus": "cores", "pids": "processes", "open_files": "open files", "turn_seconds": "seconds",
    "turn_tool_calls": "tool calls", "turn_tokens": "tokens",
}  # fmt: skip


def _amount(key: str, value: float | None) -> str:
    if value is None:
        return "the hive's own limit"
    if key == "turn_tokens" and value == 0:
        return "any number of tokens"
    if key == "memory_mib":
        return f"{value / 1024:g} GiB" if value >= 1024 else f"{value:g} MiB"
    return f"{value:g} {_UNITS[key]}"


def _servers(before: Mapping[str, McpServer], after: Mapping[str, McpServer]) -> Iterator[Right]:
    for name, server in after.items():
        if name not in before:
            words = f"may now use the MCP server {name}, which {_server(server)}"
            yield Right(f"mcp_servers.{name}", words, Risk.WIDER)
        elif before[name] != server:
            words = f"has another MCP server {name}: it {_server(server)}, before it {_server(before[name])}"
            yield Right(f"mcp_servers.{name}", words, Risk.WIDER)
    for name in (one for one in before if one not in after):
        yield Right(f"mcp_servers.{name}", f"no longer uses the MCP server {name}", Risk.NARROWER)


def _server(server: McpServer) -> str:
    if server.url:
        return f"is at {_shown(server.url)}"
    given = f", and sees the variables {', '.join(server.env)}" if server.env else ""
    return f"runs `{_shown(' '.join((server.command or '', *server.args)))}`{given}"


def _model(before: str | None, after: str | None) -> Iterator[Right]:
    yield Right("model", f"uses {after or OWN_MODEL} instead of {before or OWN_MODEL}", Risk.SAME)


def _effort(before: str | None, after: str | None) -> Iterator[Right]:
    yield Right("effort", f"thinks with {after or OWN_EFFORT} instead of {before or OWN_EFFORT}", Risk.SAME)


OWN_MODEL: Final = "the hive's own model"
OWN_EFFORT: Final = "the model's own effort"


def _description(_before: str, after: str) -> Iterator[Right]:
    words = f"is described as “{_shown(after)}”" if after else "has no description any more"
    yield Right("description", words, Risk.SAME)


_WORDS: Final[dict[str, Any]] = {
    "description": _description,
    "model": _model,
    "effort": _effort,
    "tools": _tools,
    "permission_policy": _policy,
    "recipients": _recipients,
    "network": _network,
    "restart": _restart,
    "environment": _environment,
    "secrets": _secrets,
    "packages": _packages,
    "limits": _limits,
    "mcp_servers": _servers,
}


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _flat(file: AgentFile) -> Iterator[tuple[str, str]]:
    given = file.model_dump(mode="json", exclude_unset=True)
    for key, value in given.items():
        yield from _leaves(key, value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    elif value is not None:
        yield key, _literal(value)


def _literal(value: Any) -> str:
    """As TOML writes it, near enough to be read."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return f"[{', '.join(_literal(item) for item in value)}]"
        case _:
            return str(value)
