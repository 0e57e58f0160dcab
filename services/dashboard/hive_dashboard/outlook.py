"""What an approval's page says besides the diff: its rights in words, its settings, and what the decision sets off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hive_contracts.agent_file import AgentFile, InvalidAgentFile, parse
from hive_contracts.agents import ContainerStatus, Desired
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind, Decision
from hive_contracts.rights import Right, Risk, Setting, rights, settings
from hive_dashboard.registry import AgentView
from hive_runtime.records.approvals import AgentFiles, StoredDiff

BASES: Final = {
    BaseKind.RUNNING: "what runs",
    BaseKind.LAST_APPROVED: "last approved",
    BaseKind.PREVIOUS_PROPOSAL: "previous proposal",
}

REACHED: Final = {
    Decision.APPROVE: (ApprovalState.APPROVED, ApprovalState.DEPLOYED, ApprovalState.FAILED),
    Decision.DENY: (ApprovalState.DENIED,),
    Decision.REQUEST_CHANGES: (ApprovalState.CHANGES_REQUESTED,),
}
"""The states that each decision leads to: to take it a second time changes nothing."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a diff can be drawn against. `sha` is empty for nothing."""

    kind: BaseKind
    words: str
    sha: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """`effects`: what an approval sets off, one sentence each. `problem`: why its file cannot be read, if it cannot.

    `usual` are the rights of a new agent that every new one has; `rights` are all others.
    """

    effects: tuple[str, ...]
    rights: tuple[Right, ...] = ()
    usual: tuple[Right, ...] = ()
    changed: tuple[Setting, ...] = ()
    unchanged: tuple[Setting, ...] = ()
    problem: str = ""

    @property
    def wider(self) -> int:
        return sum(right.risk is Risk.WIDER for right in self.rights)


def outlook_of(approval: ApprovalView, files: AgentFiles | None, agent: AgentView | None, *, seeds: int = 0) -> Outlook:
    """`agent`: who it is about, if there is one by now. `seeds`: how many files its state would begin with."""
    effects = tuple(_effects(approval, agent, seeds))
    if files is None:
        return Outlook(effects)
    try:
        before = parse(files.before) if files.before is not None else None
        after = parse(files.after)
    except InvalidAgentFile as error:
        return Outlook(effects, problem=f"this version of the hive cannot read it: {error}")
    return _with_settings(effects, before, after)


def wider(approval: ApprovalView, files: AgentFiles | None) -> int:
    """How many rights it would widen."""
    return outlook_of(approval, files, None).wider


def bases_of(diffs: Sequence[StoredDiff], *, past: bool = False) -> tuple[Base, ...]:
    """Those that differ from each other, in order: two that are the same commit are one choice.

    `past`: it is decided, so what ran then may run no more.
    """
    named = BASES | ({BaseKind.RUNNING: "what ran then"} if past else {})
    found: dict[str, Base] = {}
    for diff in diffs:
        known = found.get(diff.base)
        words = f"{known.words}, {named[diff.base_kind]}" if known else named[diff.base_kind]
        found[diff.base] = Base(known.kind if known else diff.base_kind, words, diff.base)
    return tuple(found.values())


def _with_settings(effects: tuple[str, ...], before: AgentFile | None, after: AgentFile) -> Outlook:
    all_ = settings(before, after)
    found = rights(before, after)
    usual = tuple(right for right in found if right.risk is Risk.SAME) if before is None else ()
    return Outlook(
        effects,
        rights=tuple(right for right in found if right not in usual),
        usual=usual,
        changed=tuple(one for one in all_ if one.changed),
        unchanged=tuple(one for one in all_ if not one.changed),
    )


def _effects(approval: ApprovalView, agent: AgentView | None, seeds: int) -> list[str]:
    name = approval.agent
    match approval.kind:
        case ApprovalKind.SPAWN | ApprovalKind.SPAWN_COMMIT:
            of_draft = approval.kind is ApprovalKind.SPAWN_COMMIT
            made = "from exactly this commit" if of_draft else "with the default agent.toml"
            effects = [f"An agent called {name} is made {made}, in a container of its own, and starts at once."]
            if seeds and not approval.revives:
                effects.append(f"Its /state begins with the {seeds} file{'' if seeds == 1 else 's'} under seed/.")
            if approval.revives:
                kept = "its notes, its history, and the messages that wait in its inbox"
                effects.append(f"What was kept of a destroyed {name} comes back: {kept}.")
                effects += ["Its /state is there already, so the files under seed/ are not used."] if seeds else []
            return [*effects, "If it does not come up, you and who asked are told why."]
        case ApprovalKind.PURGE:
            return [
                f"{name} is stopped and wiped, for ever: its state and notes, its sign-in, its history and figures, "
                "its log, its Redis user and streams.",
                "Messages in its inbox become dead letters; its questions and reminders are cancelled.",
                "Its configurations and approvals stay in the history.",
            ]
        case ApprovalKind.PERMISSION_PATTERN:
            words = f"From then on {name} runs what fits the pattern without asking you."
            return [words, *_deployed(name, agent)]
        case ApprovalKind.APPLY_COMMIT:
            return [f"{name} gets exactly this commit.", *_deployed(name, agent)]


def _deployed(name: str, agent: AgentView | None) -> list[str]:
    back = "If it does not come up healthy, what runs now is brought back by itself, and you are told."
    if agent is None:
        return [f"There is no {name} any more: it cannot be deployed."]
    if agent.desired is Desired.DESTROYED:
        return [f"{name} is destroyed: it cannot be deployed."]
    if agent.container is ContainerStatus.STOPPED:
        return [f"{name} is stopped: it starts with it the next time."]
    return [f"{name} is restarted; the message that it works on is taken up again afterwards.", back]
