"""What a page shows of a proposed commit: its difference from up to three others, and `agent.toml` before and after."""

from collections.abc import Iterator, Sequence

from hive_contracts.approvals import ApprovalState, ApprovalView, BaseKind
from hive_runtime.records.approvals import AgentFiles, StoredDiff
from hive_supervisor.configs.repository import ConfigRepository

_APPROVED = (ApprovalState.APPROVED, ApprovalState.DEPLOYED, ApprovalState.FAILED)


def diffs(
    repository: ConfigRepository, approval: ApprovalView, earlier: Sequence[ApprovalView]
) -> tuple[StoredDiff, ...]:
    """From what runs; from what was approved and what was proposed before, where that is another. Blocks.

    `earlier`: the agent's other approvals, newest first.
    """
    return tuple(
        StoredDiff(kind, base, repository.diff(base, approval.commit))
        for kind, base in _bases(repository, approval, earlier)
    )


def agent_files(repository: ConfigRepository, approval: ApprovalView) -> AgentFiles:
    """Blocks."""
    before = _running(approval)
    return AgentFiles(repository.text(before) if before else None, repository.text(approval.commit))


def _bases(
    repository: ConfigRepository, approval: ApprovalView, earlier: Sequence[ApprovalView]
) -> Iterator[tuple[BaseKind, str]]:
    known = _running(approval)
    yield BaseKind.RUNNING, known
    for kind, found in (
        (BaseKind.LAST_APPROVED, (one.commit for one in earlier if one.state in _APPROVED)),
        (BaseKind.PREVIOUS_PROPOSAL, (one.commit for one in earlier)),
    ):
        base = next((sha for sha in found if sha and repository.has(sha)), "")
        if base and base not in (known, approval.commit):
            yield kind, base


def _running(approval: ApprovalView) -> str:
    """The commit that an agent runs with, or would if it were revived; empty when there is none."""
    return approval.base if approval.revives or not approval.kind.spawns else ""
