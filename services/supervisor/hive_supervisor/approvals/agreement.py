"""Whether the book of approvals, the tags, `main`, the drafts and the agents say the same; and what mends it.

A row is what counts; of what is still on its way nothing is said. Safe beside a running supervisor: tags are made once,
and `main` is moved only from where it was.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from hive_contracts.agents import Desired
from hive_contracts.approvals import ApprovalState, ApprovalView
from hive_contracts.drafts import DraftView
from hive_contracts.models import AgentConfig
from hive_contracts.names import OPERATOR
from hive_supervisor.configs.configs import Configs
from hive_supervisor.configs.repository import ConfigRepository, Tag

FRESH_S: Final = 60.0
"""A proposal that was pinned since may still be on its way into the book, in seconds."""

_WANTED: Final[Mapping[ApprovalState, tuple[Tag, ...]]] = {
    ApprovalState.DEPLOYED: (Tag.APPROVED, Tag.DEPLOYED),
    ApprovalState.FAILED: (Tag.FAILED,),
    ApprovalState.DENIED: (Tag.DENIED,),
    ApprovalState.CHANGES_REQUESTED: (Tag.DENIED,),
}
_FORBIDDEN: Final[Mapping[ApprovalState, tuple[Tag, ...]]] = {
    ApprovalState.PENDING: (Tag.APPROVED, Tag.DEPLOYED, Tag.FAILED, Tag.DENIED),
    ApprovalState.DEPLOYED: (Tag.FAILED, Tag.DENIED),
    ApprovalState.FAILED: (Tag.DEPLOYED, Tag.DENIED),
    ApprovalState.DENIED: (Tag.APPROVED, Tag.DEPLOYED, Tag.FAILED),
    ApprovalState.CHANGES_REQUESTED: (Tag.APPROVED, Tag.DEPLOYED, Tag.FAILED),
    ApprovalState.EXPIRED: (Tag.APPROVED, Tag.DEPLOYED, Tag.FAILED),
    ApprovalState.VOID: (Tag.DEPLOYED, Tag.FAILED),
}


@dataclass(frozen=True, slots=True)
class Known:
    """An agent as the supervisor's store has it."""

    desired: Desired
    config: AgentConfig


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`mend` makes it agree, and may be called again; None when only a person can say what is right."""

    about: str
    text: str
    mend: Callable[[], object] | None = None


def disagreements(
    configs: Configs, book: Sequence[ApprovalView], drafts: Sequence[DraftView], agents: Mapping[str, Known]
) -> Iterator[Disagreement]:
    """`book`: every approval. Blocks. Raises `ConfigRefused`, `Unavailable`."""
    names = {one.agent for one in book} | agents.keys() | {draft.name for draft in drafts}
    for name in sorted(names):
        repository = configs.repository(name)
        if repository.path.is_dir():
            own = [one for one in book if one.agent == name]
            yield from _of_tags(repository, own)
            yield from _of_main(configs, name, own, agents.get(name))
    for draft in drafts:
        yield from _of_draft(configs, draft, agents.get(draft.name))


def _of_tags(repository: ConfigRepository, book: Sequence[ApprovalView]) -> Iterator[Disagreement]:
    tags = repository.all_tags()
    for approval in (one for one in book if one.commit and repository.has(one.commit)):
        found = tags.pop(approval.id, {})
        for tag in _WANTED.get(approval.state, ()):
            if tag not in found:
                add = partial(repository.tag, tag, approval.id, approval.commit, approval.error or approval.note)
                yield Disagreement(
                    approval.agent, f"{approval.id} is {approval.state.value}, without its tag {tag}", add
                )
        for tag in _FORBIDDEN.get(approval.state, ()):
            if tag in found:
                yield Disagreement(approval.agent, f"{approval.id} is {approval.state.value}, and tagged {tag}")
        if any(commit != approval.commit for commit in found.values()):
            yield Disagreement(approval.agent, f"a tag of {approval.id} is on another commit than its approval")
    for identity, found in tags.items():
        if set(found) == {Tag.PROPOSAL} and repository.age_s(Tag.PROPOSAL, identity, time.time()) > FRESH_S:
            drop = partial(repository.drop_tag, Tag.PROPOSAL, identity)
            yield Disagreement(repository.path.stem, f"the proposal {identity} is in no book", drop)


def _of_main(configs: Configs, name: str, book: Sequence[ApprovalView], agent: Known | None) -> Iterator[Disagreement]:
    if agent is None or not agent.desired.is_there or any(one.state is ApprovalState.APPROVED for one in book):
        return
    repository = configs.repository(name)
    main = repository.main()
    if main is None or repository.agent_file(main).config != agent.config:
        yield Disagreement(name, f"{name} runs with another configuration than main has", partial(configs.opened, name))
    deployed = next((one for one in book if one.state is ApprovalState.DEPLOYED and one.commit), None)
    if deployed and main and not repository.stands_on(main, deployed.commit):
        yield Disagreement(name, f"main of {name} does not stand on what {deployed.id} deployed")


def _of_draft(configs: Configs, draft: DraftView, agent: Known | None) -> Iterator[Disagreement]:
    if not configs.repository(draft.name).path.is_dir():
        yield Disagreement(draft.name, f"the draft of {draft.name} has no repository: discard it")
    if agent and agent.desired.is_there:
        yield Disagreement(draft.name, f"there is a draft of {draft.name}, and an agent: {_whose(draft)}")


def _whose(draft: DraftView) -> str:
    return "discard the draft" if draft.author == OPERATOR else f"discard {draft.author}'s draft"
