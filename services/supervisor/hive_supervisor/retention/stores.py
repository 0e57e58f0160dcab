"""The sweep over sqlite stores: the broker's, the supervisor's own, and each agent's, registered or not."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from hive_contracts.retention import Swept
from hive_runtime.store_sweep import Outdated, Pace, sweep_store
from hive_supervisor.retention.policy import Policy

log = structlog.get_logger()


def sweep_stores(data_dir: Path, agents: Iterable[str], policy: Policy, *, pace: Pace, dry_run: bool) -> list[Swept]:
    """One account per store, one store after the other. What fails is told in its account. Blocks: for a thread."""
    return [
        _sweep(data_dir, path, outdated, pace=pace, dry_run=dry_run)
        for path, outdated in _stores(data_dir, agents, policy)
    ]


def _stores(data_dir: Path, agents: Iterable[str], policy: Policy) -> Iterator[tuple[Path, tuple[Outdated, ...]]]:
    yield data_dir / "broker.sqlite", policy.brokers_store()
    yield data_dir / "supervisor.sqlite", policy.supervisors_store()
    yield data_dir / "approvals.sqlite", policy.approvals_store()
    of_agents = {data_dir / "agents" / name / "events.sqlite" for name in agents}
    of_agents.update(path for path in data_dir.glob("agents/*/events.sqlite") if not path.parent.is_symlink())
    for path in sorted(of_agents):
        yield path, policy.agents_store()


def _sweep(data_dir: Path, path: Path, outdated: tuple[Outdated, ...], *, pace: Pace, dry_run: bool) -> Swept:
    name = str(path.relative_to(data_dir))
    found = sweep_store(path, *outdated, pace=pace, dry_run=dry_run)
    if found.error:
        log.warning("store not swept", store=name, reason=found.error)
    return Swept(name=name, kept=found.kept, removed=found.removed, bytes_freed=found.bytes_freed, error=found.error)
